//! Edge calls: what an enclave asks of its host, in the memory that both see (`sdk/include/edge/edge_common.h` of
//! Keystone, on a 64-bit machine). Little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | number of the call |
//! | 8 | 8 | where its argument starts, from the start of the memory |
//! | 16 | 8 | length of its argument |
//! | 24 | 8 | answer: status, 0 for good |
//! | 32 | 8 | answer: where it starts |
//! | 40 | 8 | answer: its length |
//! | 48 | | argument and answer, by Eyrie's convention |

/// Length of an edge call without its argument.
pub const EDGE_CALL_LEN: usize = 48;
/// Where the answer's three fields start.
pub(super) const RETURN_AT: usize = 24;

/// A call as an enclave wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeCall<'m> {
    /// What is asked.
    pub id: u64,
    /// With what.
    pub argument: &'m [u8],
}

/// Why bytes are no edge call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeFault {
    /// The memory ends before the call does.
    #[error("{length} bytes of shared memory, where a call alone has {EDGE_CALL_LEN}")]
    TooShort {
        /// How many bytes there are.
        length: usize,
    },
    /// The argument is not all inside of the memory, or lies over the call itself.
    #[error(
        "its argument of {length} bytes at {offset} is not between the call and the end of the shared memory ({end})"
    )]
    Outside {
        /// Where it starts, as the call says.
        offset: u64,
        /// How long it is, as the call says.
        length: u64,
        /// Where the memory ends.
        end: usize,
    },
}

impl<'m> EdgeCall<'m> {
    /// Parses a copy of the shared memory.
    ///
    /// # Errors
    /// If the memory or the argument is not where it must be. An argument of no bytes may be said to be anywhere.
    pub fn parse(shared: &'m [u8]) -> Result<Self, EdgeFault> {
        let too_short = EdgeFault::TooShort { length: shared.len() };
        let field = |at: usize| {
            shared
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .map(|bytes| u64::from_le_bytes(*bytes))
                .ok_or(too_short)
        };
        if shared.len() < EDGE_CALL_LEN {
            return Err(too_short);
        }
        let (id, offset, length) = (field(0)?, field(8)?, field(16)?);
        let argument = match length {
            0 => Some([].as_slice()),
            _ => argument(shared, offset, length),
        };
        argument
            .map(|argument| Self { id, argument })
            .ok_or(EdgeFault::Outside {
                offset,
                length,
                end: shared.len(),
            })
    }
}

fn argument(shared: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let from = usize::try_from(offset)
        .ok()
        .filter(|from| *from >= EDGE_CALL_LEN)?;
    let to = from.checked_add(usize::try_from(length).ok()?)?;
    shared.get(from..to)
}

/// The answer's fields for an answer of `length` bytes after the call: good, where it is, how long it is.
pub(super) fn encode_return(length: usize) -> [u8; 24] {
    let mut fields = [0; 24];
    let numbers = [0, EDGE_CALL_LEN, length];
    for (number, field) in numbers.into_iter().zip(fields.chunks_exact_mut(8)) {
        // Lengths of memory fit.
        field.copy_from_slice(&u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: u64, offset: u64, length: u64, memory: usize) -> Vec<u8> {
        let mut shared: Vec<u8> = (0..memory).map(|at| at.to_le_bytes()[0]).collect();
        for (field, number) in shared.chunks_exact_mut(8).zip([id, offset, length]) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        shared
    }

    #[test]
    fn a_call_has_its_number_and_argument() {
        let shared = call(7, 48, 4, 64);
        let parsed = EdgeCall::parse(&shared).unwrap();
        assert_eq!((parsed.id, parsed.argument), (7, [48, 49, 50, 51].as_slice()));
        let last = call(7, 63, 1, 64);
        assert_eq!(EdgeCall::parse(&last).unwrap().argument, [63]);
        // Eyrie leaves an offset of an earlier call, or none.
        let nothing = call(1, u64::MAX, 0, 48);
        assert_eq!(EdgeCall::parse(&nothing).unwrap().argument, b"");
    }

    #[test]
    fn arguments_stay_between_call_and_end() {
        for (offset, length) in [
            (47, 1),
            (0, 48),
            (48, 17),
            (63, 2),
            (64, 1),
            (u64::MAX, 1),
            (48, u64::MAX),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(
                EdgeCall::parse(&call(1, offset, length, 64)),
                Err(EdgeFault::Outside {
                    offset,
                    length,
                    end: 64
                })
            );
        }
    }

    #[test]
    fn every_cut_of_the_call_is_named() {
        let shared = call(1, 0, 0, 48);
        for length in 0..48 {
            assert_eq!(
                EdgeCall::parse(&shared[..length]),
                Err(EdgeFault::TooShort { length })
            );
        }
    }

    #[test]
    fn an_answer_is_after_the_call() {
        let mut expected = [0; 24];
        expected[8] = 48;
        expected[16] = 64;
        assert_eq!(encode_return(64), expected);
    }
}
