//! A bound on how long a device may take, for all of them: a call into a driver cannot be cut short.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use nautilus_core::{AttestError, Attester, Descriptor, RawEvidence, ReportData};

/// An attester that answers within a time, or says that its device did not. A call that hangs keeps its thread; until
/// it comes back, no second is made, so that a dead device costs one thread at most.
pub(crate) struct WithDeadline {
    attester: Arc<dyn Attester>,
    deadline: Duration,
    /// Held by the call that is under way.
    busy: Arc<Mutex<()>>,
}

impl WithDeadline {
    pub(crate) fn new(attester: Box<dyn Attester>, deadline: Duration) -> Self {
        Self {
            attester: attester.into(),
            deadline,
            busy: Arc::default(),
        }
    }

    fn no_answer(&self) -> AttestError {
        AttestError::NoAnswer {
            interface: self.attester.descriptor().tee.to_string(),
            after: self.deadline,
        }
    }
}

impl Attester for WithDeadline {
    fn descriptor(&self) -> Descriptor {
        self.attester.descriptor()
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        if matches!(self.busy.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(self.no_answer());
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let (attester, busy, report_data) =
            (Arc::clone(&self.attester), Arc::clone(&self.busy), *report_data);
        let call = move || {
            let result = {
                let _busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
                attester.attest(&report_data)
            };
            // The device is free before the answer is out: who has it may ask again at once. Nobody may be waiting any
            // more: what comes too late is dropped.
            let _late = answer.send(result);
        };
        thread::Builder::new()
            .name("attester".to_owned())
            .spawn(call)
            .map_err(|source| AttestError::Io {
                action: "start a thread for",
                interface: self.attester.descriptor().tee.to_string(),
                source,
            })?;
        match answered.recv_timeout(self.deadline) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(self.no_answer()),
            Err(RecvTimeoutError::Disconnected) => Err(AttestError::Vendor {
                what: "its attester ended without an answer".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use nautilus_core::{
        BoundUserData, Challenge, Digest32, EventLogHead, NodeId, PublicKey, Purpose, TeeKind,
    };

    use super::*;

    struct Device(Mutex<Receiver<()>>);

    impl Attester for Device {
        fn descriptor(&self) -> Descriptor {
            Descriptor {
                tee: TeeKind::Nitro,
                format: "a test's",
            }
        }

        fn attest(&self, _: &ReportData) -> Result<RawEvidence, AttestError> {
            let _told = self.0.lock().unwrap().recv();
            Ok(RawEvidence::default())
        }
    }

    fn report_data() -> ReportData {
        Challenge::from_digest(Digest32([1; 32])).bind(&BoundUserData {
            purpose: Purpose::Boot,
            node: NodeId([1; 32]),
            tee: TeeKind::Nitro,
            boot: nautilus_core::BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: None,
        })
    }

    #[test]
    fn a_device_that_hangs_is_named_and_asked_again_only_when_it_came_back() {
        let (tell, told) = mpsc::channel();
        let device = WithDeadline::new(Box::new(Device(Mutex::new(told))), Duration::from_millis(50));
        for _ in 0..2 {
            let Err(AttestError::NoAnswer { interface, .. }) = device.attest(&report_data()) else {
                panic!("a hanging device gave an answer")
            };
            assert_eq!(interface, "nitro");
        }
        // One call hangs, not two: the first word frees the device, the second serves the next call.
        tell.send(()).unwrap();
        tell.send(()).unwrap();
        drop(device.busy.lock());
        assert_eq!(device.attest(&report_data()).unwrap(), RawEvidence::default());
    }
}
