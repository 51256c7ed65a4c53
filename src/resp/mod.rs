//! The wire: where requests and replies begin and end. The only folder that names `redis-protocol`. Pure.
//!
//! [`RequestScanner`] and [`ReplyScanner`] serve the data path: they find where a frame ends and copy nothing.
//! [`RequestTail`] follows a request that is too big to be kept. [`encode`] writes what the proxy says itself,
//! [`decode`] turns a reply to one of the proxy's own questions into a [`Value`].

pub mod encode;
mod inline;
mod length;
mod limits;
mod reply;
mod request;
mod tail;
mod value;

pub use encode::Proto;
pub use length::integer as parse_integer;
pub use limits::{Limits, ProtocolError};
pub use reply::{BadReply, Fed, ReplyScanner};
pub use request::{Head, Request, RequestScanner, Scan};
pub use tail::RequestTail;
pub use value::{Value, decode};
