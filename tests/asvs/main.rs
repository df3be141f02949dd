//! What standards ask of session middleware and what has gone wrong elsewhere, by the ids of `src/guide/demands.md`: the tests
//! that stand nowhere else, and one that holds the table to the tests.

mod ca;
mod ck;
mod fl;
mod incidents;
mod lt;
mod pr;
mod rv;
mod sid;
mod sl;
#[path = "../support/mod.rs"]
mod support;
mod table;
