//! The command `table`: trains what the paper's table needs, once, and writes it.

use super::commands::{SPLIT, bar, split_of, stop_when_asked, write_json};
use super::{Place, Table};
use crate::checkpoint::{CHECKPOINT, CheckpointError};
use crate::net::ResNet18;
use crate::paper_table::{self, PAPER, Row};
use crate::recipe::{Dealt, Recipe};
use crate::shard::Shard;
use crate::split::Side;
use crate::train::{self, Ending, Job, TrainError, WEIGHTS};
use crate::weights::Weights;
use std::error::Error;
use std::fs;
use std::sync::atomic::AtomicBool;

pub(super) fn table(args: &Table) -> Result<(), Box<dyn Error>> {
    let stop = stop_when_asked()?;
    let mut rows = Vec::new();
    for (name, _) in PAPER {
        let recipe = Recipe::read(&args.recipes.join(name).with_extension("toml"))?;
        for (by, recipe) in [(Dealt::Patch, paper_table::by_patch(&recipe)), (Dealt::Patient, recipe)] {
            let out = args.out.join(format!("{name}-by-{}", by.name()));
            fs::create_dir_all(&out).map_err(|error| format!("cannot create {}: {error}", out.display()))?;
            let place = Place { recipe, out, shard: args.shard.clone() };
            match row(&place, args.test, &stop)? {
                Some(row) => rows.push(row),
                None => return Ok(()),
            }
        }
    }
    let table = paper_table::markdown(&rows);
    let path = args.out.join("table.md");
    fs::write(&path, &table).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    write_json(&args.out.join("table.json"), &rows)?;
    print!("{table}");
    Ok(())
}

/// One row, trained unless it was before; `None` if somebody asked to stop.
fn row(place: &Place, test: bool, stop: &AtomicBool) -> Result<Option<Row>, Box<dyn Error>> {
    let Place { recipe, out, shard } = place;
    let opened = Shard::open(shard)?;
    train::check(recipe, opened.index())?;
    let split = split_of(opened.index(), recipe)?;
    // The run is like any other: `evaluate` reads it, too.
    write_json(&out.join(SPLIT), &split)?;
    let job = |resume| Job { recipe, shard, split: &split, out, resume };
    let progress = bar("train");
    // A checkpoint of all rounds leaves nothing to train; one of another recipe or shard is worth nothing here.
    let ending = match train::train(&job(out.join(CHECKPOINT).is_file()), stop, &progress) {
        Err(TrainError::Checkpoint(CheckpointError::Foreign(_))) => {
            train::train(&job(false), stop, &progress)
        }
        ending => ending,
    };
    if ending? == Ending::Stopped {
        return Ok(None);
    }
    let weights = Weights::<ResNet18>::load(recipe, &out.join(WEIGHTS))?;
    let judged = |side| paper_table::accuracy(&weights.net, recipe, &opened, &split, side);
    let by_patch = recipe.split.by == Dealt::Patch;
    let sides = [
        Some(judged(Side::Training)?),
        Some(judged(Side::Validation)?),
        // Patches dealt out are never of test patients.
        if test || by_patch { Some(judged(Side::Test)?) } else { None },
    ];
    Ok(Some(Row { recipe: recipe.name.clone(), by: recipe.split.by, sides }))
}
