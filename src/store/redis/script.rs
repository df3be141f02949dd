//! The scripts, each an atomic step of Redis on one Redis key, or on Redis keys of one slot.
//!
//! A script is called by its hash. A server that does not know the hash, after a restart or `SCRIPT FLUSH`, is sent the
//! whole script, once, in place of the call that failed. This loads the script on the very node that lacks it.

use redis::{ErrorKind, FromRedisValue, ServerErrorKind, Value};

use super::link::{Link, RedisFailure};

/// A script and its hash.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

macro_rules! scripts {
    ($($name:ident: $($file:literal)+,)+) => {
        /// The scripts of the store.
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)+
        }

        impl Scripts {
            pub(super) fn new() -> Self {
                Self { $($name: Script::new(concat!($(include_str!($file)),+)),)+ }
            }
        }
    };
}

scripts! {
    create: "lua/session.lua" "lua/create.lua",
    replace: "lua/at_once.lua" "lua/session.lua" "lua/replace.lua",
    retire: "lua/session.lua" "lua/retire.lua",
    touch: "lua/session.lua" "lua/touch.lua",
    settle: "lua/session.lua" "lua/settle.lua",
    enlist: "lua/owner.lua" "lua/enlist.lua",
    mark: "lua/owner.lua" "lua/mark.lua",
    strike: "lua/strike.lua",
}

/// The reply of a script: a word, and what goes with it.
#[derive(Debug)]
pub(super) struct ScriptReply {
    pub(super) word: Vec<u8>,
    pub(super) rest: Value,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// Calls the script.
    ///
    /// # Errors
    ///
    /// Redis could not be asked, or the reply is that to another call.
    pub(super) async fn call(
        &self,
        link: &Link,
        keys: &[Vec<u8>],
        arguments: &[&[u8]],
    ) -> Result<ScriptReply, RedisFailure> {
        let command = |verb, script: &str| {
            let mut command = redis::cmd(verb);
            command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        let reply = match link.send(&command("EVALSHA", &self.hash)).await {
            Err(RedisFailure::Redis(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                link.send(&command("EVAL", self.code)).await
            }
            reply => reply,
        };
        ScriptReply::read(reply?, &keys[0]).ok_or(RedisFailure::Reply)
    }
}

impl ScriptReply {
    /// Reads a reply and returns `None` unless a script that was called with this Redis key gave it.
    fn read(reply: Value, key: &[u8]) -> Option<Self> {
        let (tag, word, rest) = match reply {
            Value::BulkString(tag) => (tag, b"done".to_vec(), Value::Nil),
            Value::Array(parts) => {
                let mut parts = parts.into_iter();
                let (Value::BulkString(tag), Value::BulkString(word)) = (parts.next()?, parts.next()?) else {
                    return None;
                };
                (tag, word, parts.next().unwrap_or(Value::Nil))
            }
            _ => return None,
        };
        (!tag.is_empty() && key.ends_with(&tag)).then_some(Self { word, rest })
    }

    /// Reads what goes with the word.
    pub(super) fn parse<T: FromRedisValue>(self) -> Result<T, RedisFailure> {
        redis::from_redis_value(self.rest).map_err(|_| RedisFailure::Reply)
    }

    /// Returns the bytes that go with the word, empty if there are none.
    pub(super) fn bytes(&self) -> &[u8] {
        if let Value::BulkString(bytes) = &self.rest { bytes } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_another_key_is_none() {
        let bytes = |text: &str| Value::BulkString(text.into());
        let answer = |tag: &str| Value::Array(vec![bytes(tag), bytes("done"), bytes("ada")]);
        let reply = ScriptReply::read(answer("89abcdef"), b"session:0123456789abcdef").unwrap();
        assert_eq!((&*reply.word, reply.bytes()), (&b"done"[..], &b"ada"[..]));
        for strange in [answer("89abcdee"), answer(""), Value::Nil, Value::Okay, Value::Array(vec![bytes("89abcdef")])]
        {
            assert!(ScriptReply::read(strange.clone(), b"session:0123456789abcdef").is_none(), "{strange:?}");
        }
    }
}
