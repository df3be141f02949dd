-- ARGV[2]: how the value begins, its times up to the deadline, if it is the one to replace and has the new one's deadline.
-- ARGV[3]: the whole new value. ARGV[4]: whether to keep, extend or set the deadline. ARGV[5]: for how long Redis is to keep
-- the new value if it has its own deadline, in milliseconds, 0 if that has passed.
--
-- Nearly every write is this one: one comparison instead of all that follows, which takes twice as long.
if redis.pcall('GETRANGE', KEYS[1], 0, 23) == ARGV[2] and ARGV[5] ~= '0' then
    redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[5])
    return string.sub(KEYS[1], -16)
end
