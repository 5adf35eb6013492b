//! Signed requests, DPoP proofs and client certificates against the real program.

mod certificates;
mod clients;
mod coverage;
mod dpop;
mod draft;
mod gate;
mod pc1;
mod proxy;
mod signatures;
mod together;
