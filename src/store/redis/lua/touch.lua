-- ARGV[2]: the version to touch. ARGV[3]: the new deadline.
if state ~= 'live' then
    return answer('gone')
elseif version ~= ARGV[2] then
    return answer('conflict')
end
if at_most(deadline, ARGV[3]) then
    deadline = ARGV[3]
end
if at_most(seen, now) then
    seen = now
end
redis.call('SETRANGE', key, 10, deadline .. seen)
redis.call('PEXPIRE', key, lifetime(deadline))
return answer('done')
