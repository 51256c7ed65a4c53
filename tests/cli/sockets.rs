//! Listening sockets that a supervisor holds, as systemd does for a service with a socket unit.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output, Stdio};

use super::support::{
    Client, LONG, Proxy, ProxyOptions, Server, Value, dying_with_us, free_port, scratch_folder,
};

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback has ports")
}

fn in_front_of(server: &Server) -> ProxyOptions {
    ProxyOptions::new(&[server.address()]).socket(socket())
}

#[track_caller]
fn is_served(client: &mut Client) {
    assert_eq!(client.call("ECHO served"), Value::bulk("served"));
}

fn asks(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.address());
    client.send(&["ECHO", "waited"]);
    client
}

#[test]
fn who_connects_while_the_proxy_is_replaced_waits_and_is_served() {
    let server = Server::start();
    let mut proxy = in_front_of(&server).start();
    let (mut free, mut held) = (proxy.client(), proxy.client());
    is_served(&mut free);
    held.call("SUBSCRIBE news");
    proxy.sigterm();
    assert_eq!(free.read_to_close(), b"", "it held nothing");
    // The old one waits for who holds something, and accepts nobody.
    let mut while_it_drains = asks(&proxy);
    drop(held);
    assert!(proxy.wait_exit().success(), "{}", proxy.log());
    let mut while_nobody_runs = asks(&proxy);
    proxy.start_again();
    for client in [&mut while_it_drains, &mut while_nobody_runs] {
        assert_eq!(client.read(), Value::bulk("waited"));
    }
    is_served(&mut proxy.client());
}

#[test]
fn a_proxy_that_is_killed_leaves_nobody_refused() {
    let server = Server::start();
    let mut proxy = in_front_of(&server).start();
    proxy.kill9();
    let mut waits = asks(&proxy);
    proxy.start_again();
    assert_eq!(waits.read(), Value::bulk("waited"));
}

#[track_caller]
fn ask(stream: &mut (impl Read + Write), request: &str, reply: &str) {
    stream.write_all(request.as_bytes()).expect("somebody accepts");
    let mut bytes = vec![0; reply.len()];
    stream.read_exact(&mut bytes).expect("somebody answers");
    assert_eq!(String::from_utf8_lossy(&bytes), reply);
}

/// Those for clients on this machine, and the operators'.
#[test]
fn a_unix_socket_and_the_admin_endpoint_may_be_handed_over_as_well() {
    let (server, folder) = (Server::start(), scratch_folder("handed"));
    let (path, file) = (folder.join("redis.sock"), folder.join("redhold.toml"));
    let (unix, admin) = (UnixListener::bind(&path).expect("the temporary folder is writable"), socket());
    let at = admin.local_addr().expect("it is bound");
    let text = format!(
        "proxy.listen = [\"unix:{}\"]\nadmin.listen = \"{at}\"\nbackend.nodes = [\"{}\"]\nfailover.state_dir = \"{}\"\n",
        path.display(),
        server.address(),
        folder.join("state").display()
    );
    std::fs::write(&file, text).expect("the temporary folder is writable");
    let script =
        "exec 3<&0 4>&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" run --config \"$1\"";
    let mut command = dying_with_us("sh".as_ref());
    command.args(["-c", script, env!("CARGO_BIN_EXE_redhold")]).arg(&file).stderr(Stdio::null());
    let (stdin, stdout) = (unix.try_clone().expect("one more"), admin.try_clone().expect("one more"));
    command.stdin(Stdio::from(OwnedFd::from(stdin))).stdout(Stdio::from(OwnedFd::from(stdout)));
    let mut proxy = command.spawn().expect("a shell");
    // Both wait in the kernel's queue until the proxy is there.
    let mut client = UnixStream::connect(&path).expect("it listens");
    client.set_read_timeout(Some(LONG)).expect("a time");
    ask(&mut client, "ECHO served\r\n", "$6\r\nserved\r\n");
    let mut operator = TcpStream::connect(at).expect("it listens");
    operator.set_read_timeout(Some(LONG)).expect("a time");
    ask(&mut operator, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200 OK\r\n");
    proxy.kill().and_then(|()| proxy.wait()).expect("it ran");
}

/// What a proxy says that is given this descriptor as the first of `LISTEN_FDS`, and listens at this port of loopback.
fn given(descriptor: impl Into<OwnedFd>, listen: u16) -> Output {
    let folder = scratch_folder("socket");
    let file = folder.join("redhold.toml");
    let [admin, node] = [free_port(), free_port()];
    let text = format!(
        "proxy.listen = [\"127.0.0.1:{listen}\"]\nadmin.listen = \"127.0.0.1:{admin}\"\nbackend.nodes = [\"127.0.0.1:{node}\"]\n\
         failover.state_dir = \"{}\"\n",
        folder.join("state").display()
    );
    std::fs::write(&file, text).expect("the temporary folder is writable");
    let script = "exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run --config \"$1\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_redhold")])
        .arg(file)
        .stdin(Stdio::from(descriptor.into()));
    command.output().expect("a shell")
}

#[track_caller]
fn is_refused(said: &Output, why: &str) {
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(text.contains(why), "{text}");
    assert_eq!(said.status.code(), Some(1), "{text}");
}

#[test]
fn a_socket_at_which_nobody_would_accept_is_refused() {
    let elsewhere = socket();
    let address = elsewhere.local_addr().expect("it is bound");
    let why = format!("listen where neither proxy.listen nor admin.listen does: {address}");
    is_refused(&given(elsewhere, free_port()), &why);
    // At every address of the machine: that it is in use is not the reason.
    let everywhere = TcpListener::bind("0.0.0.0:0").expect("there are ports");
    let address = everywhere.local_addr().expect("it is bound");
    let why = format!("listen where neither proxy.listen nor admin.listen does: {address}");
    is_refused(&given(everywhere, address.port()), &why);
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let server = Server::start();
    let connected = TcpStream::connect(server.address()).expect("the server listens");
    is_refused(&given(connected, free_port()), "socket 1 of LISTEN_FDS can not be used: it does not listen");
    let file = std::fs::File::open("/dev/null").expect("there is one");
    is_refused(&given(file, free_port()), "socket 1 of LISTEN_FDS can not be used: fd 3 is not a socket");
}

/// As when a parent got them and did not mean us.
#[test]
fn sockets_for_another_process_are_left_alone() {
    let server = Server::start();
    for pid in ["1", ""] {
        let options = ProxyOptions::new(&[server.address()]);
        let proxy = options.variable("LISTEN_PID", pid).variable("LISTEN_FDS", "5").start();
        is_served(&mut proxy.client());
    }
}
