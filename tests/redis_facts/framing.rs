//! What a server answers with nothing, and what makes it close.

use crate::support::for_each_server;

#[test]
fn empty_requests_get_no_reply() {
    for_each_server(|version, client| {
        client.send_raw(b"*0\r\n*-1\r\n\r\n\n*1\r\n$4\r\nPING\r\n");
        assert_eq!(client.read_raw(7), b"+PONG\r\n", "{}", version.name);
    });
}

#[test]
fn words_of_http_close_the_connection_without_a_reply() {
    for_each_server(|version, _| {
        let server = version.start();
        for line in ["POST / HTTP/1.1\r\n", "Host: example\r\n", "host: example\r\n"] {
            let mut client = server.client();
            client.send_raw(line.as_bytes());
            assert_eq!(client.read_to_close(), b"", "{}: {line}", version.name);
        }
    });
}

#[test]
fn a_malformed_request_is_told_and_closed() {
    for_each_server(|version, _| {
        let server = version.start();
        for (bytes, error) in [
            (&b"*1\r\nfoo\r\n"[..], "-ERR Protocol error: expected '$', got 'f'\r\n"),
            (b"*1x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
            (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
            (b"SET \"k\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        ] {
            let mut client = server.client();
            client.send_raw(bytes);
            let answer = String::from_utf8_lossy(&client.read_to_close()).into_owned();
            assert_eq!(answer, error, "{}", version.name);
        }
    });
}

#[test]
fn quit_answers_and_closes() {
    for_each_server(|version, client| {
        client.send(&["QUIT"]);
        assert_eq!(client.read_to_close(), b"+OK\r\n", "{}", version.name);
    });
}
