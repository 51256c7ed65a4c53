//! The wire: where requests and replies begin and end. The only folder that names `redis-protocol`. Pure.
