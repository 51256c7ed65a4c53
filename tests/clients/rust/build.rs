//! Tells the programs which releases of the libraries they are built with: none says it at run time.

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").expect("Cargo.lock is beside this file");
    for (library, name) in [("redis", "REDIS_RS"), ("fred", "FRED")] {
        let entry = lock.split(&format!("name = \"{library}\"\nversion = \"")).nth(1).expect("it is locked");
        println!("cargo::rustc-env={name}={}", entry.split('"').next().expect("a version ends"));
    }
}
