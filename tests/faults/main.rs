//! What a client or a node can do to a group, at full size: each with the bytes on the wire, an error that a person
//! understands, bounded memory, and a second client that is served as by the server itself.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod churn;
mod crashes;
mod emptied;
mod full_disk;
mod hostile;
mod idle;
mod keyspace;
#[path = "../wire/mutation.rs"]
mod mutation;
mod parked;
mod proxy_crash;
mod scripts;
mod stopped_replica;
mod timeline;
