//! Trains the patch network of hemapatch, from annotated slices to a model that the engine runs.
//!
//! Everything that inference does too (preparation, views, pooling, the manifest) is the engine
//! crate's code; here is what only training needs. The commands are in `main.rs`.

pub mod augment;
pub mod bag;
pub mod batch;
pub mod evaluate;
pub mod export;
pub mod label_rule;
pub mod live_taps;
pub mod loss;
pub mod metrics;
pub mod net;
pub mod onnx;
pub mod passport;
pub mod phe_sich;
pub mod prepare;
pub mod random;
pub mod recipe;
pub mod report;
pub mod score;
pub mod shard;
pub mod split;
pub mod square;
pub mod train;
