//! What stands between us and a TPM, and does not do its part.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

/// `TPM_CC_Quote`.
const QUOTE: u32 = 0x158;
/// `TPM2_GetCapability` of curves, up to the capability, and a response with none.
const CURVES: [u8; 14] = [0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, 0, 0, 0, 8];
const NO_CURVES: [u8; 19] = [0x80, 0x01, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0];
/// `TPM_RC_FAILURE`, as a whole response.
const FAILURE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01];

/// How it misbehaves when a quote is asked for. Everything else it forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// It has the TPM sign another's data: the TPM's signature is genuine.
    AnothersReportData,
    /// It gives the first quote again.
    Replay,
    /// It ends the connection within the answer.
    Cut,
    /// The TPM is in failure mode.
    Failure,
    /// It never answers.
    Never,
    /// It is a TPM without elliptic curves, and says so.
    NoCurves,
}

/// Listens at `path` for as long as the test runs, in front of the TPM at `tpm`.
pub fn listen(path: &Path, tpm: PathBuf, fault: Fault) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let mut first = None;
        for client in listener.incoming() {
            serve(&mut client.unwrap(), &tpm, fault, &mut first);
        }
    });
}

/// One connection, to its end.
fn serve(client: &mut UnixStream, tpm: &Path, fault: Fault, first: &mut Option<Vec<u8>>) {
    let mut tpm = UnixStream::connect(tpm).unwrap();
    while let Some(mut command) = message(client) {
        let faulty = command[6..10] == QUOTE.to_be_bytes();
        if faulty && fault == Fault::AnothersReportData {
            // Header, handle, sessions with their size: one with the empty password has nine bytes.
            let qualifying_data = 10 + 4 + 4 + 9 + 2;
            command[qualifying_data] ^= 1;
        }
        tpm.write_all(&command).unwrap();
        let answer = message(&mut tpm).unwrap();
        let answer = match fault {
            Fault::Replay if faulty => first.get_or_insert(answer).clone(),
            Fault::Failure if faulty => FAILURE.to_vec(),
            Fault::Cut if faulty => {
                client.write_all(&answer[..answer.len() / 2]).unwrap();
                return;
            }
            Fault::Never if faulty => {
                // Until the other side gives up.
                assert_eq!(message(client), None);
                return;
            }
            Fault::NoCurves if command.starts_with(&CURVES) => NO_CURVES.to_vec(),
            _ => answer,
        };
        client.write_all(&answer).unwrap();
    }
}

/// The next command or response; none at the end.
fn message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 10];
    stream.read_exact(&mut message).ok()?;
    let size = u32::from_be_bytes(message[2..6].try_into().unwrap());
    message.resize(usize::try_from(size).unwrap(), 0);
    stream.read_exact(&mut message[10..]).ok()?;
    Some(message)
}
