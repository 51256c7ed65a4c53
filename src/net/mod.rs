//! (front page of `net`)
