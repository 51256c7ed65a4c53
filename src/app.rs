//! Wires the parts together; the only file that knows everybody.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use crate::admin::{self, Doors, Drain, History, Refusals, Tokens};
use crate::config::{Config, Origin, Reload};
use crate::frontend::{self, Frontend, LimitsInForce, Parts};
use crate::net::{Certificates, Files, Inherited, Renewed, TlsClient};
use crate::supervisor::{Supervisor, supervisor};
use crate::telemetry::{self, LevelHandle, Metrics};
use crate::topology::{Marks, NODES_MAX, Orders, Placed, Reread, Restraints, Upgrade, orders};
use crate::traces::Exporter;
use crate::upgrade::{self, Predecessor};
use crate::{command, control};

use descriptors::Descriptors;
use life::{Life, Signals};

pub(crate) mod descriptors;
mod life;

/// The addresses in use, with the system's choice for every port 0.
#[derive(Clone, Debug)]
pub struct Bound {
    /// TCP addresses of the endpoint.
    pub listen: Vec<SocketAddr>,
    /// The admin endpoint.
    pub admin: SocketAddr,
}

/// Runs the proxy until SIGTERM, SIGINT or an order to drain, or until SIGUSR2 has let another process take over; then lets clients
/// go and returns. `ready` is called
/// once, when everything listens. Sockets are bound before anything else starts, so that a bad address fails at
/// once; only names of nodes are looked up before, and waited for. `origin`: the file that says the configuration, if one does; it can be read again.
///
/// # Errors
/// One sentence: which part could not be started, and why.
pub fn run(mut config: Config, origin: Option<Origin>, ready: impl FnOnce(&Bound)) -> Result<(), String> {
    let (predecessor, inherited) = before_us(origin.is_some())?;
    let (instance, first_id, last_notice) = left_by(predecessor.as_ref());
    let level = telemetry::init(&config.log)?;
    config.control.find_nodes()?;
    let descriptors = Descriptors::raised(&config);
    let (admin, listeners, bound) = bind(&config, inherited)?;
    // What has no file could not be started again.
    let sockets = origin.as_ref().map(|_| once_more(&admin, &listeners)).transpose()?;
    let certificates = certificates_of(&config)?;
    // From here on little can fail, and the process before goes on if it does.
    predecessor.as_ref().map_or(Ok(()), Predecessor::wait_for_turn)?;
    config.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let nodes = config.control.nodes.len();
    let (marks, metrics) = (Arc::new(Marks::new(Instant::now())), Arc::new(metrics_of(&config)));
    let (reads, credentials) = (config.control.reads.clone(), config.control.credentials.clone());
    let (traces, exporter) = Exporter::start(config.traces, &metrics)
        .map_err(|error| format!("traces can not be told: {error}"))?;
    // Before anybody can learn that this process is there: one of them would end it.
    let (signals, upgrades) = Signals::caught()?;
    let (handle, brain) = start_brain(config.control, instance, certificates.backend.as_ref(), &marks)?;
    let limits: LimitsInForce = Arc::new(Arc::new(config.frontend.limits.clone()).into());
    let (drain, (supervisor, untold)) = (Drain::default(), supervisor());
    let restraints = Restraints::new(config.frontend.workers);
    let rereads = start_reloads(origin, &level, &limits, descriptors, &supervisor, &handle)?;
    let orders = (rereads.clone(), upgrades.clone());
    let control = control_doors(&handle, restraints.clone(), orders, drain.clone(), credentials);
    let parts = Parts {
        settings: config.frontend,
        backend: config.backend,
        reads,
        routes: handle.routes.clone(),
        marks: marks.clone(),
        metrics: metrics.clone(),
        limits: limits.clone(),
        traces: traces.clone(),
        control,
        tls: certificates.proxy.clone(),
        node_tls: certificates.backend.clone(),
        first_id,
        last_notice,
    };
    let frontend = serve(parts, listeners)?;
    untold.tell(handle.status.clone(), frontend.turns()).map_err(no_thread)?;
    let admin = admin.serve(Doors {
        tokens: Tokens::new(config.admin.token, config.admin.roles),
        certificates,
        orders: handle.orders,
        status: handle.status,
        routes: handle.routes,
        metrics,
        traces,
        marks,
        level,
        traffic: frontend.traffic(),
        history: History::default(),
        refusals: Refusals::default(),
        restraints,
        rereads: rereads.clone(),
        upgrades,
        predecessor: frontend.predecessor(),
        drain: drain.clone(),
    })?;
    tracing::info!(listen = ?bound.listen, admin = %bound.admin, nodes, version = env!("CARGO_PKG_VERSION"), "serving");
    ready(&bound);
    supervisor.serving();
    predecessor.map_or(Ok(()), |before| succeed(before, &frontend))?;
    Life { frontend, brain, admin, exporter, limits, supervisor, drain, rereads, sockets }
        .until_the_end(signals);
    Ok(())
}

/// Why this process does not serve; whoever started it to be succeeded by it, if it was that, may tell its people.
pub fn tell_why_not(why: &str) {
    upgrade::fail(why);
}

/// Clients of the process before come as soon as it knows that this one serves.
fn succeed(before: Predecessor, frontend: &Frontend) -> Result<(), String> {
    let line = before.line().map_err(|error| format!("clients can not be taken up: {error}"))?;
    frontend.take_up(before.pid(), move || line.next()).map_err(no_thread)?;
    before.succeed();
    Ok(())
}

/// Its name among brains, where ids of clients begin, and the last number of a notice.
fn left_by(predecessor: Option<&Predecessor>) -> (Option<Arc<str>>, u64, i64) {
    let legacy = predecessor.map(Predecessor::legacy);
    legacy.map_or((None, 1, 0), |left| (Some(left.instance.as_str().into()), left.first_id, left.last_notice))
}

fn serve(parts: Parts, listeners: Vec<frontend::Bound>) -> Result<Frontend, String> {
    Frontend::start(parts, listeners).map_err(|error| format!("cannot serve clients: {error}"))
}

fn start_brain(
    settings: control::Settings,
    instance: Option<Arc<str>>,
    tls: Option<&Arc<TlsClient>>,
    marks: &Arc<Marks>,
) -> Result<(control::Handle, control::Running), String> {
    control::start(settings, instance, tls.cloned(), marks.clone()).map_err(|error| error.to_string())
}

/// The process that this one succeeds, if there is one, and the sockets that this one was given.
fn before_us(from_file: bool) -> Result<(Option<Predecessor>, Inherited), String> {
    // Without a file others were started before, in threads of ours.
    if !from_file {
        return Ok((None, Inherited::default()));
    }
    match Predecessor::find()? {
        Some((predecessor, inherited)) => Ok((Some(predecessor), inherited)),
        None => Ok((None, Inherited::take()?)),
    }
}

fn certificates_of(config: &Config) -> Result<Certificates, String> {
    Ok(Certificates {
        proxy: loaded("proxy.tls", config.frontend.tls.clone())?,
        backend: loaded("backend.tls", config.backend.tls.clone())?,
        admin: loaded("admin.tls", config.admin.tls.clone())?,
    })
}

/// What is made of the files of a section, if it names some.
fn loaded<F: Files>(section: &str, files: Option<F>) -> Result<Option<Arc<Renewed<F>>>, String> {
    let loaded = files.map(Renewed::load).transpose();
    let loaded = loaded.map_err(|error| format!("{section}: {error}"))?;
    loaded.iter().for_each(|loaded| loaded.warn_of_expiry(section));
    Ok(loaded.map(Arc::new))
}

/// Everything that operators and clients connect to, and where that is.
fn bind(
    config: &Config,
    mut inherited: Inherited,
) -> Result<(admin::Bound, Vec<frontend::Bound>, Bound), String> {
    let admin = admin::bind(&config.admin, &mut inherited);
    let settings = &config.frontend;
    let bind = |listen| frontend::bind(listen, settings.tls.is_some(), &mut inherited);
    let sockets: std::io::Result<Vec<_>> = settings.listen.iter().map(bind).collect();
    let sockets = sockets.map_err(|error| format!("proxy.listen: {error}"));
    // Said before anything else: such a socket may be why an address is in use.
    inherited.none_left()?;
    let (admin, sockets) = (admin?, sockets?);
    let listen = sockets.iter().filter_map(frontend::Bound::address).collect();
    let bound = Bound { listen, admin: admin.address() };
    Ok((admin, sockets, bound))
}

/// Those of a next process.
fn once_more(admin: &admin::Bound, listeners: &[frontend::Bound]) -> Result<Vec<OwnedFd>, String> {
    let all = listeners.iter().map(AsFd::as_fd).chain([admin.as_fd()]);
    let kept: std::io::Result<_> = all.map(|socket| socket.try_clone_to_owned()).collect();
    kept.map_err(|error| format!("cannot keep the sockets: {error}"))
}

fn metrics_of(config: &Config) -> Metrics {
    Metrics::new(
        command::rows().iter().map(|row| row.name.to_owned()).collect(),
        config.control.nodes.iter().map(|node| node.address.to_string()).collect(),
        NODES_MAX,
        config.frontend.workers,
    )
}

/// What clients reach of the control thread, by PROXY.
fn control_doors(
    handle: &control::Handle,
    restraints: Restraints,
    (rereads, upgrades): (Orders<Reread>, Orders<Upgrade>),
    drain: Drain,
    credentials: control::Credentials,
) -> frontend::Control {
    frontend::Control {
        status: handle.status.clone(),
        orders: handle.orders.clone(),
        signals: handle.signals.clone(),
        parity: handle.parity.clone(),
        restraints,
        rereads,
        upgrades,
        drain: Arc::new(move || drain.begin()),
        credentials,
    }
}

/// A thread of its own, since names are looked up, which may take long.
fn start_reloads(
    origin: Option<Origin>,
    level: &LevelHandle,
    limits: &LimitsInForce,
    descriptors: Descriptors,
    supervisor: &Supervisor,
    handle: &control::Handle,
) -> Result<Orders<Reread>, String> {
    let (rereads, mut placed) = orders();
    let (limits, supervisor, declarations) =
        (limits.clone(), supervisor.clone(), handle.declarations.clone());
    let declare = Box::new(move |nodes| declarations.declare(nodes));
    let mut reload = Reload::new(origin, level.clone(), limits.clone(), declare);
    let carry_out = move || {
        while let Some(Placed { answer, .. }) = placed.blocking_recv() {
            let said = supervisor.reloading(|| reload.again());
            descriptors.raise(limits.load().max_clients);
            // Whoever asked may have left.
            answer.send(said).ok();
        }
    };
    let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(carry_out);
    thread.map(|_| rereads).map_err(no_thread)
}

fn no_thread(error: std::io::Error) -> String {
    format!("cannot start a thread: {error}")
}
