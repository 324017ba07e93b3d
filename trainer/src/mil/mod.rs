//! Multiple-instance learning (P13, P15, P16): only bags have labels, those of their patches are latent.
//!
//! A bag is a slice: the patches of all places where something of the head shows ([`hemapatch::patch::in_bag`]).
//! A network embeds each patch, gated attention weighs them, and a linear classifier reads the weighted mean: the
//! attention-based pooling of Ilse, Tomczak, Welling 2018, "Attention-based Deep Multiple Instance Learning" (ICML).
//! Neighbouring slices, windows of which make a step, are held to similar attention at the same place: the smoothness
//! of Wu, Castro-Macias, Morales-Alvarez, Molina, Katsaggelos 2023, "Smooth Attention for Deep Multiple Instance
//! Learning: Application to CT Intracranial Hemorrhage Detection" (SA-DMIL, MICCAI), whose bags are whole scans and
//! whose instances are slices. Pooling for inference is the engine's ([`hemapatch::evidence::Bag`]).

pub mod judge;
pub mod labels;
mod loss;
mod net;
mod plan;
mod score;
mod train;
mod window;

pub use loss::{BagLosses, bag_losses};
pub use net::{AttentionNet, AttentionWeights, pool};
pub use plan::Plan;
pub use train::{BagPoint, MilError, train};
pub use window::{Window, WindowBag, WindowCutter, Windows};
