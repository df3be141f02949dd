//! What a program works with: values, typed sessions, extractors, layers, axum and tonic (promises 16, 28 and 33).

mod autotraits;
mod axum_stack;
mod country;
mod extractors;
mod grpc;
mod layers;
mod read_back;
mod typed;
mod values;

#[path = "../../examples/grpc/client.rs"]
mod client;
#[allow(unreachable_pub, unused_qualifications, dead_code, clippy::pedantic, reason = "generated")]
#[path = "../../examples/grpc/proto.rs"]
mod proto;
#[path = "../../examples/grpc/service.rs"]
mod service;
#[path = "../support/mod.rs"]
mod support;
