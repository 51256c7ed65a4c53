//! Names that stand for several nodes, `dns:name:port`.

use std::fs::{self, File as Log};

use super::support::{
    LONG, ProxyOptions, Server, Value, dying_with_us, eventually, free_port, scratch_folder,
};
use super::{File, redhold};

#[test]
fn every_address_of_a_name_is_a_node() {
    let server = Server::start();
    let port = server.port();
    let nodes = format!("[{{ address = \"dns:localhost:{port}\", zone = \"here\", expect = 1 }}]");
    let proxy = ProxyOptions::new(&[]).set("backend.nodes", &nodes).start();
    let status = proxy.status();
    let listed = status["nodes"].as_array().expect("a list of nodes");
    assert_eq!(listed.len(), 1, "{status}");
    assert_eq!(listed[0]["address"], format!("127.0.0.1:{port}"));
    assert_eq!(listed[0]["zone"], "here");
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
    assert_eq!(server.call("GET k"), Value::bulk("v"));
}

#[test]
fn a_name_is_looked_up_by_a_check_that_connects_and_by_no_other() {
    let server = Server::start();
    let file = File::new(&format!("[backend]\nnodes = [\"dns:localhost:{}\"]\n", server.port()));
    let connected = redhold(&["check", "--config", file.path(), "--connect"]);
    assert!(connected.out.contains(&format!("127.0.0.1:{}: ", server.port())), "{connected:?}");
    let nowhere = File::new("[backend]\nnodes = [\"dns:nobody.invalid:6379\"]\n");
    assert_eq!(redhold(&["check", "--config", nowhere.path()]).code, Some(0));
}

#[test]
fn a_name_that_does_not_resolve_is_waited_for() {
    let (folder, [client, admin]) = (scratch_folder("names"), [free_port(), free_port()]);
    let file = File::new(&format!(
        "[proxy]\nlisten = [\"127.0.0.1:{client}\"]\n[backend]\nnodes = [\"dns:nobody.invalid:6379\"]\n\
         [failover]\nstate_dir = {folder:?}\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n"
    ));
    let log = folder.join("log");
    let told = Log::create(&log).expect("the temporary folder is writable");
    let mut command = dying_with_us(env!("CARGO_BIN_EXE_redhold").as_ref());
    let mut child =
        command.args(["run", "--config", file.path()]).stderr(told).spawn().expect("it can be started");
    eventually(LONG, "the log says what is waited for", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains("backend.nodes[0]: dns:nobody.invalid:6379 does not resolve: ")
            && text.contains("it is waited for")
    });
    assert_eq!(child.try_wait().expect("it is ours"), None, "it waits");
    assert!(std::net::TcpStream::connect(("127.0.0.1", client)).is_err(), "nobody is let in before");
    child.kill().expect("it can be ended");
    child.wait().expect("it is ours");
    fs::remove_dir_all(&folder).expect("it is ours");
}
