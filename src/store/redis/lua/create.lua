-- ARGV[2]: the whole value. Returns the moment of the sign-in that stands there, if this very record does.
local value = ARGV[2]

-- Returns all but the times, the moment of the sign-in, which the store gave, and the digest, which covers the moment.
local function contents(value)
    local owned = string.byte(value, 35) == 1
    local rest = owned and string.sub(value, 35, 51) .. string.sub(value, 60) or string.sub(value, 35)
    return string.sub(value, 1, 10) .. rest
end

if state == 'none' then
    -- NX, since an empty string, which the store did not write, looks like nothing.
    if redis.call('SET', key, value, 'PX', lifetime(string.sub(value, 11, 18)), 'NX') then
        return answer('done')
    end
elseif state == 'live' and version == string.sub(value, 3, 10) then
    local standing = redis.call('GET', key)
    if contents(standing) == contents(value) then
        return answer('done', string.sub(standing, 52, 59))
    end
end
return answer('taken')
