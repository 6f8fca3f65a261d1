//! Channels over blocking streams: one thread at each end.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use nautilus_channel::blocking::{BlockingChannel, Clock, Next, Party, open};
use nautilus_channel::{
    Appraise, Attested, ChannelError, Endpoint, Identified, Judgement, MessageType, Payload, PayloadError,
    Present, PresentedEvidence, Reason,
};
use nautilus_core::UnixMillis;

use crate::fixture::{Tee, agent, verifier};

/// A stream whose reads give up three times before each that has something.
struct Drowsy {
    stream: UnixStream,
    given_up: u8,
}

impl Read for Drowsy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given_up < 3 {
            self.given_up += 1;
            return Err(ErrorKind::WouldBlock.into());
        }
        self.given_up = 0;
        self.stream.read(buffer)
    }
}

impl Write for Drowsy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

struct Honest<'a>(&'a Tee);

impl Party for Honest<'_> {
    fn present(&mut self, present: &Present) -> Result<PresentedEvidence, String> {
        Ok(self.0.present(present))
    }

    fn judge(&mut self, appraise: Appraise, now: UnixMillis) -> Judgement {
        self.0.judge(appraise, now)
    }
}

#[derive(Debug, PartialEq)]
struct Text(String);

impl Payload for Text {
    fn message_type(&self) -> MessageType {
        MessageType::Attestation
    }

    fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        Ok(self.0.clone().into_bytes())
    }

    fn decode(_: MessageType, bytes: &[u8]) -> Result<Self, PayloadError> {
        String::from_utf8(bytes.to_vec())
            .map(Self)
            .map_err(|error| PayloadError(error.to_string()))
    }
}

#[test]
fn reads_that_give_up_in_time_do_not_end_a_channel() {
    let clock = Clock::start();
    let (near, far) = UnixStream::pair().unwrap();
    let drowsy = |stream| Drowsy { stream, given_up: 0 };
    let now = clock.now();
    let tee = Tee::at(now.wall);
    let (near, far) = (drowsy(near), drowsy(far));
    std::thread::scope(|scope| {
        let (mut party, mut judge) = (Honest(&tee), Honest(&tee));
        let asker = scope.spawn(move || -> Result<Text, ChannelError> {
            let endpoint = Endpoint::initiator(agent(), now)?;
            let mut channel: BlockingChannel<_, Identified> = open(near, endpoint, clock, &mut party)?;
            let mut last = Text(String::new());
            for round in 0..5 {
                channel.ask(&Text(format!("question {round}")))?;
                let Next::Message(answer) = channel.wait()? else {
                    panic!("no answer");
                };
                last = Text::decode(answer.message_type, &answer.payload).unwrap();
            }
            channel.terminate(Reason::Done, "");
            Ok(last)
        });
        let endpoint = Endpoint::responder(verifier(), now).unwrap();
        let mut channel: BlockingChannel<_, Attested> = open(far, endpoint, clock, &mut judge).unwrap();
        let ended = loop {
            match channel.wait().unwrap() {
                Next::Message(question) => {
                    let text = Text::decode(question.message_type, &question.payload).unwrap();
                    channel
                        .answer(question.message_id, &Text(format!("answer to {}", text.0)))
                        .unwrap();
                }
                Next::Terminated(termination) => break termination,
            }
        };
        assert_eq!(ended.reason, Reason::Done);
        assert_eq!(asker.join().unwrap(), Ok(Text("answer to question 4".to_owned())));
    });
}
