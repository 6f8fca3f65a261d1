//! Either side is killed at any moment, forty times. No number that was acknowledged is lost, none is delivered twice,
//! the order holds, and the side that lives says what happened.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nautilus_channel::{
    Address, Channel, ChannelError, ClientEvent, Endpoint, Incoming, Limits, Line, Listener, MessageId,
    MessageType, Parties, Payload as _, TaskClock, Unidentified, open,
};

use crate::line::{Client, Number, asker as asker_config, key, responder as responder_config};
use crate::log::{Log, read};

const KILLS: u32 = 40;
/// Where the children find their files.
const DIRECTORY: &str = "NAUTILUS_TEST_DELIVERY";
/// Another run at the same moments.
const SEED: &str = "NAUTILUS_TEST_DELIVERY_SEED";
/// Within this the side that lives has to say what happened: a peer that is silent is dead after one second.
const NAMED_WITHIN: Duration = Duration::from_secs(10);

const LIMITS: Limits = Limits {
    heartbeat: Duration::from_millis(300),
    silence: Duration::from_secs(1),
    ..Limits::DEFAULT
};

/// Numbers in order of some seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Asker,
    Responder,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Asker => Self::Responder,
            Self::Responder => Self::Asker,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Asker => "asker",
            Self::Responder => "responder",
        }
    }
}

/// A process that dies with its handle.
struct Process(Child);

impl Process {
    fn start(side: Side, directory: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("kill::{}", side.name()),
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL; it is there until it is waited for.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

struct Run {
    directory: tempfile::TempDir,
    random: Random,
    asker: Option<Process>,
    responder: Option<Process>,
}

impl Run {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn lines(&self, name: &str) -> usize {
        read(&self.file(name)).len()
    }

    fn process(&mut self, side: Side) -> &mut Option<Process> {
        match side {
            Side::Asker => &mut self.asker,
            Side::Responder => &mut self.responder,
        }
    }

    fn start(&mut self, side: Side) {
        let process = Process::start(side, self.directory.path());
        *self.process(side) = Some(process);
    }

    /// Waits until this many numbers more are acknowledged.
    fn progress(&self, more: usize) {
        let goal = self.lines("acknowledged") + more;
        let started = Instant::now();
        while self.lines("acknowledged") < goal {
            assert!(
                started.elapsed() < NAMED_WITHIN,
                "nothing is acknowledged any more"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What a side said of failures, beyond the first `seen`; waits until there is something.
    fn named(&self, side: Side, seen: usize) -> Vec<String> {
        let name = format!("{}.named", side.name());
        let started = Instant::now();
        loop {
            let named = read(&self.file(&name)).split_off(seen);
            if !named.is_empty() {
                return named;
            }
            assert!(
                started.elapsed() < NAMED_WITHIN,
                "the {} did not say what happened",
                side.name()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Some moment, up to 20 ms from now.
    fn some_moment(&mut self) {
        std::thread::sleep(Duration::from_micros(self.random.below(20_000)));
    }

    fn kill(&mut self, round: u32) {
        let victim = match self.random.below(2) {
            0 => Side::Asker,
            _ => Side::Responder,
        };
        let survivor = victim.other();
        // One in eight just after its start, in the handshake or before; one in ten is silent first.
        let early = round % 8 == 7;
        let frozen = round % 10 == 3;
        if !early {
            self.progress(1);
        }
        // Who acknowledges has told of what was before.
        let seen = self.lines(&format!("{}.named", survivor.name()));
        self.some_moment();
        if frozen && !early {
            let process = self.process(victim).as_ref().unwrap();
            process.signal(rustix::process::Signal::STOP);
            let named = self.named(survivor, seen);
            assert_eq!(named[0], "peer_silent", "{victim:?} {named:?}");
        }
        *self.process(victim) = None;
        if !early && !frozen {
            let named = self.named(survivor, seen);
            assert!(
                matches!(named[0].as_str(), "truncated" | "io" | "peer_silent"),
                "{victim:?} {named:?}"
            );
        }
        self.start(victim);
    }

    fn check(&self) {
        let number = |line: &String| -> u64 { line.split(' ').next().unwrap().parse().unwrap() };
        let delivered: Vec<u64> = read(&self.file("delivered")).iter().map(number).collect();
        let acknowledged: Vec<u64> = read(&self.file("acknowledged")).iter().map(number).collect();
        // In order, each once, none left out.
        let count = u64::try_from(delivered.len()).unwrap();
        assert_eq!(delivered, (0..count).collect::<Vec<_>>());
        let known = u64::try_from(acknowledged.len()).unwrap();
        assert_eq!(acknowledged, (0..known).collect::<Vec<_>>());
        assert!(known <= count && count <= known + 1, "{known} of {count}");
    }
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_comes_twice() {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => getrandom::u64().unwrap(),
    };
    // Shown where the test fails.
    println!("{SEED}={seed}");
    let mut run = Run {
        directory: tempfile::tempdir().unwrap(),
        random: Random(seed),
        asker: None,
        responder: None,
    };
    run.start(Side::Responder);
    run.start(Side::Asker);
    for round in 0..KILLS {
        run.kill(round);
    }
    run.progress(10);
    (run.asker, run.responder) = (None, None);
    run.check();
}

/// Ends the process when whoever started it has ended.
fn end_with_parent() {
    std::thread::spawn(|| {
        let _end = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

fn address(directory: &Path) -> Address {
    Address::Unix(directory.join("socket"))
}

fn id_text(id: MessageId) -> String {
    id.to_string()
}

fn id_from(text: &str) -> MessageId {
    let byte = |at: usize| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap();
    MessageId(std::array::from_fn(byte))
}

#[test]
#[ignore = "a child of the test above"]
fn asker() {
    let Some(directory) = directory() else { return };
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(ask(&directory));
}

/// Asks one number after the other. A number's id is on the disk before it is asked, and that it was acknowledged before
/// the next.
async fn ask(directory: &Path) {
    let (named, _) = Log::open(&directory.join("asker.named"));
    let named = Arc::new(Mutex::new(named));
    let line = Line {
        dial: Arc::new(address(directory)),
        config: Arc::new(|| asker_config(key(), LIMITS)),
        parties: Parties::default(),
        told: Arc::new(move |event| {
            if let ClientEvent::Broken { why, .. } = event {
                named.lock().unwrap().write(why.kind());
            }
        }),
    };
    let client = Client::new(line);
    let (mut asked, lines) = Log::open(&directory.join("asked"));
    let (mut acknowledged, done) = Log::open(&directory.join("acknowledged"));
    let mut open = lines
        .get(done.len())
        .map(|line| id_from(line.split(' ').nth(1).unwrap()));
    for number in u64::try_from(done.len()).unwrap().. {
        let id = match open.take() {
            Some(id) => id,
            None => {
                let id = MessageId::random().unwrap();
                asked.write(&format!("{number} {}", id_text(id)));
                id
            }
        };
        let patience = Duration::from_secs(60);
        let answer: Number = client.ask_as(id, &Number(number), patience).await.unwrap();
        assert_eq!(answer, Number(number));
        acknowledged.write(&number.to_string());
    }
}

#[test]
#[ignore = "a child of the test above"]
fn responder() {
    let Some(directory) = directory() else { return };
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(respond(&directory));
}

/// What was delivered, and how it was answered.
struct Delivered {
    log: Log,
    answers: HashMap<MessageId, u64>,
}

async fn respond(directory: &Path) {
    let (log, lines) = Log::open(&directory.join("delivered"));
    let answers = lines.iter().map(|line| {
        let (number, id) = line.split_once(' ').unwrap();
        (id_from(id), number.parse().unwrap())
    });
    let delivered = Arc::new(Mutex::new(Delivered {
        answers: answers.collect(),
        log,
    }));
    let (named, _) = Log::open(&directory.join("responder.named"));
    let named = Arc::new(Mutex::new(named));
    let listener = Listener::bind(&address(directory)).await.unwrap();
    let clock = TaskClock::start();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let endpoint = Endpoint::responder(responder_config(LIMITS), clock.now()).unwrap();
        let (delivered, named) = (Arc::clone(&delivered), Arc::clone(&named));
        tokio::spawn(async move {
            let why = match open(stream, endpoint, clock, Parties::default()).await {
                Ok((channel, questions)) => serve(channel, questions, &delivered).await,
                Err(why) => why,
            };
            named.lock().unwrap().write(why.kind());
        });
    }
}

/// Answers when it is on the disk, and what was asked before as it was answered then. Gives why the session ended.
async fn serve(
    channel: Channel<Unidentified>,
    mut questions: Incoming,
    delivered: &Mutex<Delivered>,
) -> ChannelError {
    while let Some(question) = questions.next().await {
        let Number(asked) = Number::decode(question.message_type, &question.payload).unwrap();
        let answer = {
            let mut delivered = delivered.lock().unwrap();
            let id = question.message_id;
            match delivered.answers.get(&id) {
                Some(answer) => *answer,
                None => {
                    delivered.log.write(&format!("{asked} {}", id_text(id)));
                    delivered.answers.insert(id, asked);
                    asked
                }
            }
        };
        let payload = Number(answer).encode().unwrap();
        let sent = channel.answer(question.message_id, MessageType::PerformanceData, payload);
        if sent.await.is_err() {
            break;
        }
    }
    channel.ended().await
}
