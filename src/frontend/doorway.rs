//! The acceptor's way to the workers: who may come in gets a seat, who may not is told why.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::telemetry::{Brake, WorkerMetrics};

use super::entrance::{Entrance, Rate, Refusal};
use super::handed::{Belongings, Handed};
use super::listener::Accepted;
use super::shared::Shared;

/// Clients on their way from the acceptor to one worker.
const HANDOVER_MAX: usize = 1024;

/// A client that may come in, and its id, given in the order of acceptance: ids of one listener only grow, as Redis's do.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) id: u64,
    pub(super) socket: Accepted,
    pub(super) seat: Seat,
    /// It says in a PROXY header for whom it comes.
    pub(super) for_another: bool,
    /// What came with it from another process.
    pub(super) belongings: Option<Box<Belongings>>,
}

/// A client's seat, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    shared: Arc<Shared>,
    /// Clients of its worker.
    of_worker: Arc<AtomicUsize>,
    /// Where it counts.
    address: Option<IpAddr>,
}

impl Seat {
    fn take(shared: &Arc<Shared>, of_worker: &Arc<AtomicUsize>) -> Self {
        shared.clients.fetch_add(1, Ordering::Relaxed);
        of_worker.fetch_add(1, Ordering::Relaxed);
        Self { shared: shared.clone(), of_worker: of_worker.clone(), address: None }
    }

    /// The client came from there long ago.
    fn of_old(&mut self, address: IpAddr) {
        self.shared.addresses.enter(address, usize::MAX);
        self.address = Some(address);
    }

    /// The client comes from there: whether it may.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn of(&mut self, address: IpAddr, entrance: &Entrance) -> Result<(), Refusal> {
        if !entrance.allows(address) {
            return Err(Refusal::Denied);
        }
        // Those who come while any number may count as well: the number may be limited while they are here.
        let most = if entrance.per_address > 0 { entrance.per_address } else { usize::MAX };
        if !self.shared.addresses.enter(address, most) {
            return Err(Refusal::FullForAddress);
        }
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
        self.of_worker.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            self.shared.addresses.leave(address);
        }
    }
}

/// The acceptor's side of one worker.
#[derive(Clone, Debug)]
pub(super) struct WorkerDoor {
    sender: mpsc::Sender<Admitted>,
    /// Clients that the worker has or is about to get.
    clients: Arc<AtomicUsize>,
}

/// Both ends of the handover to one worker.
pub(super) fn door() -> (WorkerDoor, mpsc::Receiver<Admitted>) {
    let (sender, receiver) = mpsc::channel(HANDOVER_MAX);
    (WorkerDoor { sender, clients: Arc::default() }, receiver)
}

/// Gives a client of another process to the worker with the fewest, if it is understood; waits for room. No limit is asked: it was let
/// in there.
pub(super) fn take_up((words, socket): Handed, doors: &[WorkerDoor], shared: &Arc<Shared>) {
    let Some(belongings) = Belongings::read(&words) else {
        return tracing::error!("a client of the process before is not understood, and closed");
    };
    let Some(door) = doors.iter().min_by_key(|door| door.clients.load(Ordering::Relaxed)) else { return };
    let mut seat = Seat::take(shared, &door.clients);
    belongings.theirs.iter().for_each(|theirs| seat.of_old(theirs.ip()));
    let socket = match belongings.theirs {
        Some(theirs) => Accepted::Tcp(socket.into(), theirs),
        None => Accepted::Unix(socket.into()),
    };
    let (id, belongings) = (belongings.id, Some(Box::new(belongings)));
    let _ = door.sender.blocking_send(Admitted { id, socket, seat, for_another: false, belongings });
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Doorway {
    pub(super) doors: Vec<WorkerDoor>,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<WorkerMetrics>,
    rate: RefCell<Rate>,
    /// For the log, of those who were sent away.
    refused: RefCell<Brake>,
}

impl Doorway {
    pub(super) fn new(doors: Vec<WorkerDoor>, shared: Arc<Shared>, metrics: Arc<WorkerMetrics>) -> Self {
        let rate = RefCell::new(Rate::new(Instant::now()));
        Self { doors, shared, metrics, rate, refused: RefCell::default() }
    }

    /// Returns when the next client may be accepted. Who comes earlier waits in the kernel's queue.
    pub(super) async fn rest(&self) {
        loop {
            let wait = {
                let mut rate = self.rate.borrow_mut();
                rate.set(self.shared.limits.load().entrance.per_second);
                rate.wait(Instant::now())
            };
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Gives the client to the worker with the fewest, or sends it away.
    pub(super) fn take(&self, socket: Accepted) {
        if let Err((socket, refusal)) = self.try_take(socket) {
            self.metrics.error(refusal.into());
            self.note_refused(refusal, &socket);
            socket.refuse(refusal);
        }
    }

    fn try_take(&self, socket: Accepted) -> Result<(), (Accepted, Refusal)> {
        let limits = self.shared.limits.load();
        if self.shared.clients.load(Ordering::Relaxed) >= limits.max_clients {
            return Err((socket, Refusal::Full));
        }
        let Some(door) = self.doors.iter().min_by_key(|door| door.clients.load(Ordering::Relaxed)) else {
            return Err((socket, Refusal::Busy));
        };
        let mut seat = Seat::take(&self.shared, &door.clients);
        let for_another = socket.address().is_some_and(|address| limits.entrance.speaks_for_others(address));
        if let Some(address) = socket.address().filter(|_| !for_another)
            && let Err(refusal) = seat.of(address, &limits.entrance)
        {
            return Err((socket, refusal));
        }
        self.rate.borrow_mut().came(Instant::now());
        let admitted =
            Admitted { id: self.shared.next_client(), socket, seat, for_another, belongings: None };
        door.sender.try_send(admitted).map_err(|refused| (refused.into_inner().socket, Refusal::Busy))
    }

    fn note_refused(&self, refusal: Refusal, socket: &Accepted) {
        let Some(clients) = self.refused.borrow_mut().note(Instant::now()) else { return };
        let address = socket.address().map_or_else(|| "unix".to_owned(), |address| address.to_string());
        tracing::warn!(
            clients,
            last = address,
            "clients were sent away, the last one because of {}",
            refusal.key()
        );
    }
}
