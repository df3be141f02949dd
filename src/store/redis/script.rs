//! The steps that Redis does at once, each a script that works on one key, or on keys of one slot.
//!
//! A script is called by its hash. Where the server does not have it, after a restart or `SCRIPT FLUSH`, it is sent
//! whole, once, in place of the call that failed: that loads it on the very node that lacks it.

use redis::{ErrorKind, ServerErrorKind, Value};

use super::link::{Failure, Link};

/// A script, and the name it is known by.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

/// The scripts of the store.
pub(super) struct Scripts {
    pub(super) create: Script,
    pub(super) replace: Script,
    pub(super) retire: Script,
    pub(super) touch: Script,
    pub(super) settle: Script,
    pub(super) enlist: Script,
    pub(super) mark: Script,
}

macro_rules! on_session {
    ($file:literal) => {
        Script::new(concat!(include_str!("lua/session.lua"), include_str!($file)))
    };
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            create: on_session!("lua/create.lua"),
            replace: Script::new(concat!(
                include_str!("lua/at_once.lua"),
                include_str!("lua/session.lua"),
                include_str!("lua/replace.lua")
            )),
            retire: on_session!("lua/retire.lua"),
            touch: on_session!("lua/touch.lua"),
            settle: on_session!("lua/settle.lua"),
            enlist: Script::new(include_str!("lua/enlist.lua")),
            mark: Script::new(include_str!("lua/mark.lua")),
        }
    }
}

/// What a script answered: a word, and what goes with it.
#[derive(Debug)]
pub(super) struct Reply {
    word: Vec<u8>,
    rest: Option<Value>,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// Calls the script.
    ///
    /// # Errors
    ///
    /// Redis could not be asked, or the answer is that to another call.
    pub(super) async fn call(&self, link: &Link, keys: &[&str], arguments: &[&[u8]]) -> Result<Reply, Failure> {
        let answer = match link.send(&command("EVALSHA", &self.hash, keys, arguments)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                link.send(&command("EVAL", self.code, keys, arguments)).await
            }
            answer => answer,
        };
        Reply::read(answer?, keys.first().copied().unwrap_or_default()).ok_or(Failure::Reply)
    }
}

fn command(verb: &str, script: &str, keys: &[&str], arguments: &[&[u8]]) -> redis::Cmd {
    let len = keys.iter().map(|key| key.len()).chain(arguments.iter().map(|argument| argument.len())).sum::<usize>();
    // The room is for the verb and the number of keys, too.
    let mut command = redis::Cmd::with_capacity(3 + keys.len() + arguments.len(), 16 + script.len() + len);
    command.arg(verb).arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}

impl Reply {
    /// `None` unless it is an answer of a script that was called with this key.
    fn read(answer: Value, key: &str) -> Option<Self> {
        let (tag, word, rest) = match answer {
            Value::BulkString(tag) => (tag, b"done".to_vec(), None),
            Value::Array(parts) => {
                let mut parts = parts.into_iter();
                match (parts.next()?, parts.next()?) {
                    (Value::BulkString(tag), Value::BulkString(word)) => (tag, word, parts.next()),
                    _ => return None,
                }
            }
            _ => return None,
        };
        (!tag.is_empty() && key.as_bytes().ends_with(&tag)).then_some(Self { word, rest })
    }

    pub(super) fn word(&self) -> &[u8] {
        &self.word
    }

    /// The bytes that go with the word, empty if there are none.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.rest {
            Some(Value::BulkString(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Whether bytes go with the word, and which.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        match self.rest {
            Some(Value::BulkString(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The list that goes with the word.
    pub(super) fn into_list(self) -> Vec<Value> {
        match self.rest {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_another_key_is_none() {
        let bytes = |text: &str| Value::BulkString(text.into());
        let answer = |tag: &str| Value::Array(vec![bytes(tag), bytes("done"), bytes("ada")]);
        let reply = Reply::read(answer("89abcdef"), "session:0123456789abcdef").unwrap();
        assert_eq!((reply.word(), reply.bytes()), (&b"done"[..], &b"ada"[..]));
        for strange in [answer("89abcdee"), answer(""), Value::Nil, Value::Okay, Value::Array(vec![bytes("89abcdef")])]
        {
            assert!(Reply::read(strange.clone(), "session:0123456789abcdef").is_none(), "{strange:?}");
        }
    }
}
