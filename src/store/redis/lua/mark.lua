-- Replaces an owner's mark, unless that was written since it was read, or a session has entered the list since.
--
-- ARGV[1]: the mark as it was read. ARGV[2]: the new mark, empty to read only. ARGV[3]: its moment. ARGV[4]: the time for
-- which the mark is kept, in milliseconds.
if ARGV[2] == '' or mark ~= ARGV[1] or tonumber(ARGV[3]) <= last_moment then
    return answer('read', mark, text(now), text(following))
end

local function write()
    return redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[4])
end

local written = write()
if written.err then
    -- A full Redis refuses a script's first write if it takes room, and none after it.
    redis.call('ZREM', list, '')
    written = write()
end
return written.err and written or answer('done')
