//! Bodies: media types, forms, multipart, text.

pub mod form;
mod media_type;
pub mod multipart;
pub mod patch;
pub mod text;

pub use media_type::{Family, MediaRange, MediaType, MediaTypeError};
