-- Follows the load of a value that has expired, and finds one that was touched meanwhile.
if state == 'live' or state == 'tombstone' then
    return answer('found', redis.call('GET', key))
end
-- The text may repeat arguments, so only its first word is told.
return answer(kept and 'kept' or 'gone', kept and string.match(kept, '%u+'))
