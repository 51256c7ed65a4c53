//! The handle through which people order something: any thread places, one answers.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::NodeId;

/// More orders than these never wait; a further one is refused at once.
const WAITING_MAX: usize = 16;

/// What operators may order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Planned change of primary, to a given node or to the best.
    Switchover {
        /// The wanted node.
        to: Option<NodeId>,
    },
    /// Unplanned change in spite of what forbids it.
    Failover {
        /// The wanted node.
        to: Option<NodeId>,
    },
    /// Make this node the primary of the group, whatever was recorded.
    Adopt {
        /// The node.
        node: NodeId,
    },
}

/// How an order ended: one sentence, for people. `Err`: it was not carried out, and why.
pub type Answer = Result<String, String>;

/// To read the configuration again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reread;

/// To have the program started anew, and that process take over from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade;

impl Upgrade {
    /// By then it is known what came of it.
    pub const WITHIN: Duration = Duration::from_secs(85);
}

/// An order on its way, with the way back.
#[derive(Debug)]
pub struct Placed<O = Order> {
    /// What was ordered.
    pub order: O,
    /// Where the answer goes; may have been given up meanwhile.
    pub answer: oneshot::Sender<Answer>,
}

/// Places orders. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Orders<O = Order> {
    sender: mpsc::Sender<Placed<O>>,
}

/// Makes the pair: the handle, and the queue for the one who carries orders out.
#[must_use]
pub fn orders<O>() -> (Orders<O>, mpsc::Receiver<Placed<O>>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Orders { sender }, receiver)
}

impl<O> Orders<O> {
    /// Places `order` and waits for its end, which the one who carries it out bounds; the failover machine some ten seconds.
    ///
    /// # Errors
    /// A sentence that says why it was not carried out; when the proxy stops meanwhile, its outcome is unknown and
    /// the sentence says so.
    pub async fn place(&self, order: O) -> Answer {
        let (answer, ended) = oneshot::channel();
        self.sender.try_send(Placed { order, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                format!("{WAITING_MAX} orders are waiting already; nothing was done, try again later")
            }
            mpsc::error::TrySendError::Closed(_) => "the proxy is stopping; nothing was done".to_owned(),
        })?;
        ended.await.unwrap_or_else(|_| {
            Err("the proxy stopped while it worked on the order; what came of it is not known".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_comes_back_with_its_answer() {
        let (handle, mut queue) = orders();
        let carried_out = async {
            let placed = queue.recv().await.unwrap();
            assert_eq!(placed.order, Order::Adopt { node: NodeId(1) });
            placed.answer.send(Ok("adopted".to_owned())).unwrap();
        };
        let (answer, ()) = tokio::join!(handle.place(Order::Adopt { node: NodeId(1) }), carried_out);
        assert_eq!(answer, Ok("adopted".to_owned()));
    }

    #[tokio::test]
    async fn an_order_given_up_or_too_many_say_what_happened() {
        let (handle, mut queue) = orders();
        let given_up = async { drop(queue.recv().await) };
        let (answer, ()) = tokio::join!(handle.place(Order::Switchover { to: None }), given_up);
        assert!(answer.unwrap_err().contains("stopped while it worked"));

        let mut waiting = Vec::new();
        for _ in 0..WAITING_MAX {
            let handle = handle.clone();
            waiting.push(tokio::spawn(async move { handle.place(Order::Failover { to: None }).await }));
        }
        tokio::task::yield_now().await;
        assert!(handle.place(Order::Failover { to: None }).await.unwrap_err().contains("nothing was done"));
        drop(queue);
        assert!(handle.place(Order::Failover { to: None }).await.unwrap_err().contains("is stopping"));
    }
}
