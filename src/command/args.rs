//! A request as this folder needs it: the arguments, the name first.

use crate::resp::Request;

/// Arguments of one request; number 0 is the command's name.
pub trait Args {
    /// How many there are, the name included.
    fn count(&self) -> usize;

    /// Argument number `index`, `index < count()`.
    fn arg(&self, index: usize) -> &[u8];
}

impl<T: AsRef<[u8]>> Args for [T] {
    fn count(&self) -> usize {
        self.len()
    }

    fn arg(&self, index: usize) -> &[u8] {
        self[index].as_ref()
    }
}

impl<T: AsRef<[u8]>> Args for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }

    fn arg(&self, index: usize) -> &[u8] {
        self[index].as_ref()
    }
}

impl Args for Request<'_> {
    #[inline]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn arg(&self, index: usize) -> &[u8] {
        Request::arg(self, index)
    }
}
