//! Wipes the buffers of a connection.

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use zeroize::Zeroize;

/// Wipes the output buffer, which contains the client secret, and the input buffer, which contains the
/// token.
#[derive(Debug)]
pub(super) struct Wipe;

#[derive(Debug)]
pub(super) struct Wiping<T: Transport> {
    transport: T,
    /// Bytes received in total: nothing in the input buffer beyond this was ever written.
    received: usize,
}

impl<T: Transport> Wiping<T> {
    pub fn new(transport: T) -> Wiping<T> {
        Wiping { transport, received: 0 }
    }
}

impl<In: Transport> Connector<In> for Wipe {
    type Out = Wiping<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Wiping<In>>, ureq::Error> {
        Ok(chained.map(Wiping::new))
    }
}

impl<T: Transport> Drop for Wiping<T> {
    fn drop(&mut self) {
        if self.received > 0 {
            let buffers = self.transport.buffers();
            // Once everything is consumed the whole buffer is free to be written to.
            buffers.input_consume(buffers.input().len());
            let input = buffers.input_append_buf();
            let used = self.received.min(input.len());
            input[..used].zeroize();
        }
    }
}

impl<T: Transport> Transport for Wiping<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, time: NextTimeout) -> Result<(), ureq::Error> {
        let outcome = self.transport.transmit_output(amount, time);
        // ureq reads a body into the first buffer before it encodes it into the second.
        let (read, sent) = self.transport.buffers().tmp_and_output();
        let amount_read = amount.min(read.len());
        read[..amount_read].zeroize();
        sent[..amount].zeroize();
        outcome
    }

    fn await_input(&mut self, time: NextTimeout) -> Result<bool, ureq::Error> {
        let before = self.transport.buffers().input().len();
        let outcome = self.transport.await_input(time);
        self.received += self.transport.buffers().input().len().saturating_sub(before);
        outcome
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}
