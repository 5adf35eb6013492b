//! The document as a contract: operations, what they take and what they answer.

mod annotations;
mod compile;
mod contract;
mod coverage;
mod extension;
mod files;
pub(crate) mod keys;
mod media;
mod multipart;
mod operation;
mod parameter;
mod patch;
mod paths;
mod reader;
mod security;
mod servers;
mod shape;
mod terms;
mod upload;

pub use contract::{Compiled, Contract, Found, compile};
pub use coverage::{Entry, Section, coverage};
pub use extension::{BindRule, Extension, Source};
pub use files::FilePlace;
pub use keys::Class;
pub use media::{BodyPlan, Content, RequestBody, Response, ResponseContent, StatusRange};
pub use operation::Operation;
pub use parameter::Parameter;
pub use paths::Segments;
pub use security::{Alternative, Requirement, SchemeKind, Security, SecurityScheme};
#[cfg(test)]
pub(crate) use shape::fast;
pub use terms::{
    Errors, Loosened, Mode, OnError, Over, Pagination, ReadOnly, RequestTerms, ResponseTerms, Terms,
    TextRule, Unknown, UploadTerms,
};
