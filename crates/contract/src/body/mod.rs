//! Bodies: media types, forms, text.

pub mod form;
mod media_type;
pub mod text;

pub use media_type::{Family, MediaRange, MediaType, MediaTypeError};
