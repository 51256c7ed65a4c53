//! A blocking client that shows the wire: raw bytes out, raw bytes or values in, nothing hidden, nothing retried.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::value::Value;
use super::wait::{LONG, timed_out};

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Client {
    /// Connects, with [`LONG`] as the time-out of every read and write.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|fault| panic!("connect to {address}: {fault}"))
    }

    /// As `connect`, but a failure is the caller's to judge.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, LONG)?, address)
    }

    /// Connects from this address.
    #[track_caller]
    pub fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        Self::prepared(address, |socket| socket.bind(&SocketAddr::new(from, 0).into()))
    }

    /// Connects with little room for what it has not read: the kernel takes no more than that and the sender's part.
    #[track_caller]
    pub fn connect_narrow(address: SocketAddr) -> Self {
        Self::prepared(address, |socket| socket.set_recv_buffer_size(64 << 10))
    }

    #[track_caller]
    fn prepared(address: SocketAddr, prepare: impl FnOnce(&Socket) -> io::Result<()>) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        let connected = prepare(&socket)
            .and_then(|()| socket.connect_timeout(&address.into(), LONG))
            .and_then(|()| Self::over(socket.into(), address));
        connected.unwrap_or_else(|fault| panic!("connect to {address}: {fault}"))
    }

    fn over(stream: TcpStream, address: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        let input = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, input, address })
    }

    /// Connects and says `HELLO 3`.
    #[track_caller]
    pub fn connect_resp3(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        let hello = client.call("HELLO 3");
        assert!(matches!(hello, Value::Map(_)), "HELLO 3 answered {hello:?}");
        client
    }

    /// Where it is connected to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its own end, as the server's CLIENT LIST shows it.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// Another time-out for reads.
    pub fn set_read_timeout(&self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("a timeout above zero is accepted");
    }

    /// Sends the words of `request`, divided at blanks, and returns the reply; panics when the connection fails.
    #[track_caller]
    pub fn call(&mut self, request: &str) -> Value {
        self.cmd(&request.split_whitespace().collect::<Vec<_>>())
    }

    /// Sends one request and returns the reply; panics when the connection fails.
    #[track_caller]
    pub fn cmd<T: AsRef<[u8]>>(&mut self, arguments: &[T]) -> Value {
        self.try_cmd(arguments).unwrap_or_else(|fault| {
            let name = arguments.first().map(|name| name.as_ref().escape_ascii().to_string());
            panic!("{name:?} to {}: {fault}", self.address)
        })
    }

    /// As `cmd`, but a lost connection is the caller's to judge.
    pub fn try_cmd<T: AsRef<[u8]>>(&mut self, arguments: &[T]) -> io::Result<Value> {
        self.try_send_raw(&encode(arguments))?;
        self.try_read()
    }

    /// Sends a request and does not wait for its reply.
    #[track_caller]
    pub fn send<T: AsRef<[u8]>>(&mut self, arguments: &[T]) {
        self.send_raw(&encode(arguments));
    }

    /// Sends the requests in one write and returns as many replies.
    #[track_caller]
    pub fn pipeline(&mut self, requests: &[&str]) -> Vec<Value> {
        let mut bytes = Vec::new();
        for request in requests {
            bytes.extend(encode(&request.split_whitespace().collect::<Vec<_>>()));
        }
        self.send_raw(&bytes);
        requests.iter().map(|_| self.read()).collect()
    }

    /// As `pipeline`, for arguments with blanks.
    #[track_caller]
    pub fn pipelined<T: AsRef<[u8]>>(&mut self, requests: &[&[T]]) -> Vec<Value> {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        self.send_raw(&bytes);
        requests.iter().map(|_| self.read()).collect()
    }

    /// The sending half alone, for a thread of its own: who sends much must read at the same time.
    #[track_caller]
    pub fn sender(&self) -> Self {
        let stream = self.stream.try_clone().expect("descriptors are left");
        let input = BufReader::new(stream.try_clone().expect("descriptors are left"));
        Self { stream, input, address: self.address }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).unwrap_or_else(|fault| panic!("send to {}: {fault}", self.address));
    }

    /// As `send_raw`, but a failure is the caller's to judge.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply or push.
    #[track_caller]
    pub fn read(&mut self) -> Value {
        self.try_read().unwrap_or_else(|fault| panic!("reply of {}: {fault}", self.address))
    }

    /// As `read`, but a failure is the caller's to judge.
    pub fn try_read(&mut self) -> io::Result<Value> {
        Value::read(&mut self.input)
    }

    /// Exactly `count` bytes of what comes next.
    #[track_caller]
    pub fn read_raw(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.input
            .read_exact(&mut bytes)
            .unwrap_or_else(|fault| panic!("{count} bytes of {}: {fault}", self.address));
        bytes
    }

    /// Everything until the other side closes; panics when it does not within the read time-out.
    #[track_caller]
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.input.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(fault) if fault.kind() == io::ErrorKind::ConnectionReset => bytes,
            Err(fault) => {
                panic!("{} did not close after {:?}: {fault}", self.address, bytes.escape_ascii().to_string())
            }
        }
    }

    /// What comes until nothing does for `quiet`, up to `most` bytes.
    #[track_caller]
    pub fn read_until_silent(&mut self, quiet: Duration, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < most && !self.is_silent_for(quiet) {
            let there = self.input.fill_buf().unwrap_or_else(|fault| panic!("{}: {fault}", self.address));
            let some = there.len().min(most - bytes.len());
            bytes.extend_from_slice(&there[..some]);
            self.input.consume(some);
        }
        bytes
    }

    /// Whether nothing comes within `quiet`: neither bytes nor a close.
    pub fn is_silent_for(&mut self, quiet: Duration) -> bool {
        if !self.input.buffer().is_empty() {
            return false;
        }
        self.set_read_timeout(quiet);
        let mut byte = [0; 1];
        let outcome = self.stream.peek(&mut byte);
        self.set_read_timeout(LONG);
        outcome.is_err_and(|fault| timed_out(&fault))
    }

    /// Closes the sending half, so that the other side sees the end of the stream.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).ok();
    }
}

/// A request as clients write it: an array of bulk strings.
pub fn encode<T: AsRef<[u8]>>(arguments: &[T]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend(argument);
        bytes.extend(b"\r\n");
    }
    bytes
}
