//! Trains the patch network of hemapatch, from annotated slices to a model that the engine runs.
//!
//! Everything that inference does too (preparation, views, pooling, the manifest) is the engine
//! crate's code; here is what only training needs. The commands are in `cli`.

pub mod agreement;
pub mod augment;
pub mod bag;
pub mod batch;
pub mod calibration;
pub mod checkpoint;
pub mod cli;
pub mod curve;
pub mod evaluate;
pub mod export;
mod fluid;
pub mod fold;
pub mod label_rule;
pub mod learning_curve;
pub mod live_taps;
pub mod loss;
pub mod metrics;
pub mod mil;
pub mod net;
pub mod onnx;
pub mod operating_point;
pub mod optimizer;
pub mod paper_table;
mod parts;
pub mod passport;
pub mod phantoms;
pub mod phe_sich;
pub mod prepare;
pub mod pseudo;
pub mod quantize;
pub mod random;
pub mod recipe;
pub mod record;
pub mod report;
mod rounds;
pub mod score;
pub mod shard;
pub mod shares;
pub mod slice_list;
pub mod split;
pub mod square;
pub mod threshold;
pub mod throughput;
pub mod train;
pub mod weights;
