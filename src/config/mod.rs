//! (front page of `config`)
