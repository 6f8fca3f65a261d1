//! The trusted application nautilus-state, compiled for this machine and run as a program of it. What OP-TEE would do
//! for it is done here: storage, randomness, AES-GCM.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

pub(super) const SUCCESS: u32 = 0;
const ITEM_NOT_FOUND: u32 = 0xffff_0008;
const ACCESS_CONFLICT: u32 = 0xffff_0003;
const MAC_INVALID: u32 = 0xffff_3071;
const TARGET_DEAD: u32 = 0xffff_3024;
const MAX_BYTES: u32 = 1024 * 1024;

/// A device's secure storage: objects by the storage's number and their name. Copies are the same storage.
#[derive(Clone, Debug, Default)]
pub struct Storage(Arc<Mutex<Objects>>);

type Objects = BTreeMap<(u32, Vec<u8>), Vec<u8>>;

impl Storage {
    /// A copy of everything, as a thief of `/data/tee` takes it.
    pub fn copied(&self) -> Self {
        Self(Arc::new(Mutex::new(self.objects().clone())))
    }

    /// Puts back what was copied before.
    pub fn restore(&self, copy: &Self) {
        let copy = copy.objects().clone();
        *self.objects() = copy;
    }

    /// Removes everything.
    pub fn empty(&self) {
        self.objects().clear();
    }

    /// Changes each object to this.
    pub fn overwrite(&self, bytes: &[u8]) {
        for object in self.objects().values_mut() {
            *object = bytes.to_vec();
        }
    }

    /// Numbers of the storages that objects are in.
    pub fn storages_used(&self) -> Vec<u32> {
        self.objects().keys().map(|(storage, _)| *storage).collect()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the build keeps its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// `TEE_STORAGE_PRIVATE`.
    Default,
    /// `NAUTILUS_RPMB=y`.
    Rpmb,
}

/// The program, and its end of the pipes.
pub struct TrustedApplication {
    child: Child,
    storage: Storage,
}

/// What a command left in one parameter.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    pub value: (u64, u64),
    pub size: u64,
    pub bytes: Vec<u8>,
}

impl TrustedApplication {
    /// Compiles and starts it over this storage.
    ///
    /// # Panics
    /// If there is no C compiler, or it finds fault with the source.
    pub fn start(storage: Storage) -> Self {
        Self::start_built(storage, Build::Default)
    }

    /// The same, of another build.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_built(storage: Storage, build: Build) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let source = manifest.join("../../deploy/optee/nautilus-state");
        let shim = manifest.join("src/device/optee");
        let folder = tempfile::tempdir().expect("make a directory");
        let program = folder.path().join("nautilus-state");
        let mut compiler = Command::new("cc");
        // What the sanitizer finds ends the program, and needs no library.
        compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1"]);
        compiler.args(["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]);
        if build == Build::Rpmb {
            compiler.arg("-DNAUTILUS_STATE_ON_RPMB");
        }
        compiler
            .arg("-I")
            .arg(&shim)
            .arg("-I")
            .arg(source.join("include"));
        compiler
            .arg(shim.join("shim.c"))
            .arg(source.join("nautilus_state.c"));
        let compiled = compiler.arg("-o").arg(&program).output().expect("run cc");
        assert!(
            compiled.status.success(),
            "cc: {}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        // The running program keeps its file; the directory goes with `folder`.
        let child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the trusted application");
        Self { child, storage }
    }

    /// Invokes a command. Kinds are those of the parameters: 0 none, 2 value out, 5 bytes in, 6 bytes out.
    pub(super) fn invoke(
        &mut self,
        command: u32,
        kinds: [u64; 4],
        inputs: &[Vec<u8>; 4],
        room: [u64; 4],
    ) -> (u32, [Output; 4]) {
        // OP-TEE says so of an application that panicked.
        self.exchange(command, kinds, inputs, room)
            .unwrap_or((TARGET_DEAD, Default::default()))
    }

    fn exchange(
        &mut self,
        command: u32,
        kinds: [u64; 4],
        inputs: &[Vec<u8>; 4],
        room: [u64; 4],
    ) -> io::Result<(u32, [Output; 4])> {
        let types = (0..4).fold(0, |types, index| types | narrow(kinds[index]) << (4 * index));
        self.put(command)?;
        self.put(types)?;
        for index in 0..4 {
            match kinds[index] {
                5 => self.put_bytes(&inputs[index])?,
                6 => self.put(narrow(room[index]))?,
                _ => {}
            }
        }
        loop {
            match self.number()? {
                1 => self.open()?,
                2 => self.create()?,
                3 => self.write()?,
                4 => self.random()?,
                5 => self.encrypt()?,
                6 => self.decrypt()?,
                7 => break,
                ask => panic!("the trusted application asks for {ask}"),
            }
        }
        let code = self.number()?;
        let mut outputs: [Output; 4] = Default::default();
        for (output, kind) in outputs.iter_mut().zip(kinds) {
            match kind {
                2 => output.value = (self.number()?.into(), self.number()?.into()),
                6 => {
                    output.size = self.number()?.into();
                    output.bytes = self.bytes()?;
                }
                _ => {}
            }
        }
        Ok((code, outputs))
    }

    fn open(&mut self) -> io::Result<()> {
        let name = self.name()?;
        let object = self.storage.objects().get(&name).cloned();
        self.put(if object.is_some() { SUCCESS } else { ITEM_NOT_FOUND })?;
        self.put_bytes(&object.unwrap_or_default())
    }

    fn create(&mut self) -> io::Result<()> {
        let name = self.name()?;
        let data = self.bytes()?;
        let taken = self.storage.objects().contains_key(&name);
        if !taken {
            self.storage.objects().insert(name, data);
        }
        self.put(if taken { ACCESS_CONFLICT } else { SUCCESS })
    }

    fn write(&mut self) -> io::Result<()> {
        let name = self.name()?;
        let at = self.number()? as usize;
        let data = self.bytes()?;
        let found = match self.storage.objects().get_mut(&name) {
            Some(object) => {
                object.resize(object.len().max(at + data.len()), 0);
                object[at..at + data.len()].copy_from_slice(&data);
                SUCCESS
            }
            None => ITEM_NOT_FOUND,
        };
        self.put(found)
    }

    fn random(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; self.number()?.min(MAX_BYTES) as usize];
        SystemRandom::new()
            .fill(&mut bytes)
            .expect("the system gives randomness");
        self.put_all(&bytes)
    }

    fn encrypt(&mut self) -> io::Result<()> {
        let (key, nonce, aad, mut body) = self.operation()?;
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut body)
            .expect("it is short enough");
        self.put_all(&body)?;
        self.put_all(tag.as_ref())
    }

    fn decrypt(&mut self) -> io::Result<()> {
        let (key, nonce, aad, mut body) = self.operation()?;
        let mut tag = [0; 16];
        self.take(&mut tag)?;
        body.extend(tag);
        match key.open_in_place(nonce, Aad::from(aad), &mut body) {
            Ok(plaintext) => {
                let plaintext = plaintext.to_vec();
                self.put(SUCCESS)?;
                self.put_all(&plaintext)
            }
            Err(_) => self.put(MAC_INVALID),
        }
    }

    fn operation(&mut self) -> io::Result<(LessSafeKey, Nonce, Vec<u8>, Vec<u8>)> {
        let key = UnboundKey::new(&AES_256_GCM, &self.bytes()?).expect("the key has 32 bytes");
        let nonce = Nonce::try_assume_unique_for_key(&self.bytes()?).expect("the nonce has 12 bytes");
        Ok((LessSafeKey::new(key), nonce, self.bytes()?, self.bytes()?))
    }

    fn name(&mut self) -> io::Result<(u32, Vec<u8>)> {
        Ok((self.number()?, self.bytes()?))
    }

    fn put(&mut self, number: u32) -> io::Result<()> {
        self.put_all(&number.to_ne_bytes())
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(u32::try_from(bytes.len()).expect("lengths fit"))?;
        self.put_all(bytes)
    }

    fn put_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.child.stdin.as_mut().expect("it has a pipe").write_all(bytes)
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut number = [0; 4];
        self.take(&mut number)?;
        Ok(u32::from_ne_bytes(number))
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = self.number()?;
        assert!(
            length <= MAX_BYTES,
            "the trusted application speaks of {length} bytes"
        );
        let mut bytes = vec![0; length as usize];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.child
            .stdout
            .as_mut()
            .expect("it has a pipe")
            .read_exact(bytes)
    }
}

impl Drop for TrustedApplication {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.child.stdin.take());
        let ended = self.child.wait();
        drop(ended);
    }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("numbers of parameters fit")
}
