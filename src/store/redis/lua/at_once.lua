-- ARGV[2]: the start of the stored value, up to and with its deadline, if it has the version to replace and the new
-- value's deadline. ARGV[3]: the whole new value. ARGV[4]: whether to keep, extend or set the deadline. ARGV[5]: the
-- time for which Redis is to keep the new value if it has its own deadline, in milliseconds; 0 if that has passed.
--
-- Nearly every write ends here: one comparison in place of the steps below, which take twice as long.
if redis.pcall('GETRANGE', KEYS[1], 0, 17) == ARGV[2] and ARGV[5] ~= '0' then
    redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[5])
    return string.sub(KEYS[1], -16)
end
