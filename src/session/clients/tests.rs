use super::*;
use crate::resp::Proto;

fn words(request: &str) -> Vec<&[u8]> {
    request.split(' ').map(str::as_bytes).collect()
}

fn row(id: u64) -> ClientRow {
    ClientRow {
        id,
        addr: format!("10.0.0.{id}:5000"),
        laddr: "10.0.0.9:6380".to_owned(),
        fd: 8,
        name: b"app".to_vec(),
        age: 10 * id,
        idle: 1,
        flags: ClientFlags::default(),
        db: 2,
        sub: 0,
        psub: 0,
        ssub: 0,
        multi: None,
        qbuf: 0,
        redirect: None,
        qbuf_free: 0,
        omem: 0,
        tot_mem: 1024,
        cmd: "get".to_owned(),
        user: b"default".to_vec(),
        proto: Proto::Resp2,
        lib_name: b"redis-py".to_vec(),
        lib_ver: b"8.0".to_vec(),
        net_in: 5,
        net_out: 6,
        commands: 7,
    }
}

/// Three clients, the second subscribed, the third another user's.
fn rows() -> Vec<ClientRow> {
    let mut rows: Vec<_> = (1..=3).map(row).collect();
    rows[1].flags.pubsub = true;
    rows[2].user = b"ann".to_vec();
    rows
}

fn listed(request: &str) -> Vec<u64> {
    let filter = ListFilter::parse(&words(request)).unwrap();
    filter.select(&rows()).iter().map(|row| row.id).collect()
}

#[test]
fn a_list_shows_whom_it_was_asked_for() {
    assert_eq!(listed("CLIENT LIST"), [1, 2, 3]);
    assert_eq!(listed("client list type normal"), [1, 3]);
    assert_eq!(listed("CLIENT LIST TYPE pubsub"), [2]);
    assert_eq!(listed("CLIENT LIST TYPE replica"), [] as [u64; 0]);
    assert_eq!(listed("CLIENT LIST ID 3 9 -1 1 3"), [3, 1, 3]);
}

/// Who of the three clients is meant when the first one asks.
fn killed(request: &str) -> Vec<u64> {
    let kill = Kill::parse(&words(request)).unwrap();
    rows().iter().filter(|row| kill.filter().matches(row, 1)).map(|row| row.id).collect()
}

#[test]
fn a_kill_means_those_that_match_every_filter() {
    assert_eq!(killed("CLIENT KILL 10.0.0.1:5000"), [1]);
    assert_eq!(killed("CLIENT KILL 10.0.0.1"), [] as [u64; 0]);
    assert_eq!(killed("CLIENT KILL ID 2"), [2]);
    assert_eq!(killed("CLIENT KILL ID 1"), [] as [u64; 0]);
    assert_eq!(killed("CLIENT KILL ID 1 SKIPME no"), [1]);
    assert_eq!(killed("CLIENT KILL SKIPME yes"), [2, 3]);
    assert_eq!(killed("CLIENT KILL ADDR 10.0.0.2:5000"), [2]);
    assert_eq!(killed("CLIENT KILL LADDR 10.0.0.9:6380"), [2, 3]);
    assert_eq!(killed("CLIENT KILL LADDR 10.0.0.8:6380"), [] as [u64; 0]);
    assert_eq!(killed("CLIENT KILL TYPE normal SKIPME no"), [1, 3]);
    assert_eq!(killed("client kill type PubSub user default"), [2]);
    assert_eq!(killed("CLIENT KILL USER ann"), [3]);
    assert_eq!(killed("CLIENT KILL MAXAGE 20 SKIPME NO"), [2, 3]);
    assert_eq!(killed("CLIENT KILL ID 2 ID 3"), [3]);
    assert!(matches!(Kill::parse(&words("CLIENT KILL 10.0.0.1:5000")), Ok(Kill::Address(_))));
    assert!(matches!(Kill::parse(&words("CLIENT KILL ID 2")), Ok(Kill::Matching(_))));
}

#[test]
fn an_unblock_says_whom_and_how() {
    for (request, id, error) in [
        ("CLIENT UNBLOCK 5", Some(5), false),
        ("CLIENT UNBLOCK 5 timeout", Some(5), false),
        ("CLIENT UNBLOCK 5 ERROR", Some(5), true),
        ("CLIENT UNBLOCK -5", None, false),
    ] {
        assert_eq!(Unblock::parse(&words(request)), Ok(Unblock { id, error }), "{request}");
    }
}

#[test]
fn a_row_is_a_line_of_client_list() {
    let mut text = String::new();
    let mut client = row(4);
    client.write(&mut text);
    assert_eq!(
        text,
        "id=4 addr=10.0.0.4:5000 laddr=10.0.0.9:6380 fd=8 name=app age=40 idle=1 flags=N db=2 sub=0 psub=0 ssub=0 \
         multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=1024 \
         events=r cmd=get user=default redir=-1 resp=2 lib-name=redis-py lib-ver=8.0 io-thread=0 tot-net-in=5 \
         tot-net-out=6 tot-cmds=7\n"
    );
    client.flags =
        ClientFlags { pubsub: true, multi: true, blocked: true, unix: true, ..ClientFlags::default() };
    (client.multi, client.cmd) = (Some(3), String::new());
    text.clear();
    client.write(&mut text);
    assert!(
        text.contains(" flags=PxbU ") && text.contains(" multi=3 ") && text.contains(" cmd=NULL "),
        "{text}"
    );
}
