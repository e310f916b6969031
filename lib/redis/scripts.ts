/**
 * What runs inside Redis, and the names of the keys. `REDIS_PREFIX` stands before each of them.
 *
 * The names are made inside the scripts from their arguments, so this is for one Redis server (with
 * replicas if you like) and not for Redis Cluster.
 *
 * Last values belong to one data set, and to nobody else at the same time:
 *
 * - {@linkcode OWNER_KEY} names it. Without one, what the index names is to be cleared.
 * - {@linkcode LEASE_KEY} names it as well, and ends on its own some time after its last consumer. Who
 *   finds the lease of another data set lets its last values alone; without one they are of a data
 *   set that is gone, or that nobody minds any more.
 * - {@linkcode LAST_COMPLETE_KEY} names it once all of its last values have been written.
 *
 * Each script compares and writes in one step, so that what was sent long ago and arrives now writes
 * nothing that is not the owner's.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** A mark is kept at this prefix and the reading's id. */
export const MARK_PREFIX = "reading:";

/** A last value is kept at this prefix and the sensor's id. */
export const LAST_PREFIX = "last:";

/** The part after {@linkcode LAST_PREFIX} that names the index and therefore no sensor. */
export const INDEX_NAME = "index";

/** Sorted set: sensor id, scored by the event time of its last value in microseconds. */
export const INDEX_KEY = `${LAST_PREFIX}${INDEX_NAME}`;

/** The data set of which every last value has been written. */
export const LAST_COMPLETE_KEY = "ledger:last-complete";

/** The data set that the last values are of. */
export const OWNER_KEY = "ledger:last-owner";

/** The data set that the last values are of, while one of its consumers is there. Expires. */
export const LEASE_KEY = "ledger:last-lease";

/** The key that was met last where something else than ours stands. Expires. */
export const REFUSED_KEY = "ledger:last-refused";

/** How long {@linkcode REFUSED_KEY} is kept for `doctor`, seconds. */
const REFUSED_SECONDS = 3_600;

/** Keys of another program that one answer names at most. */
const REFUSED_NAMED_MAX = 10;

/**
 * Begins every script. `ARGV[1]` is the prefix, `ARGV[2]` the data set that asks, `ARGV[3]` how long
 * it holds the lease, ms.
 */
const PRELUDE = `
local call = redis.call
local prefix, me, lease_ms = ARGV[1], ARGV[2], ARGV[3]
local INDEX, LAST = prefix .. '${INDEX_KEY}', prefix .. '${LAST_PREFIX}'
local OWNER, LEASE = prefix .. '${OWNER_KEY}', prefix .. '${LEASE_KEY}'
local COMPLETE = prefix .. '${LAST_COMPLETE_KEY}'
local refused = {}

-- What a command says, or nil if the key is of another type: then it is not ours.
local function ask(command, key)
  local answer = redis.pcall(command, key)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if not string.find(answer.err, 'WRONGTYPE', 1, true) then return call(command, key) end
  refused[#refused + 1] = key
  return nil
end

-- Earlier versions kept no owner: it was whoever was complete.
local owner = ask('GET', OWNER)
local complete = ask('GET', COMPLETE)
if owner == false then owner = complete end
local lease = ask('GET', LEASE)
local indexed = ask('ZCARD', INDEX)
local is_readable = #refused == 0
`;

/**
 * One step of taking possession of the last values; again and again until it does not say
 * `clearing`. What the index names of another data set is deleted, and nothing else.
 *
 * `ARGV[4]` is a data set that ours has taken the place of, or "": its lease counts for nothing;
 * `ARGV[5]` the most sensors to delete in this step. Answers `{what, data set, milliseconds}`:
 * `foreign` with whose the lease is and how long it lasts; else `clearing`, `incomplete` or
 * `complete`.
 */
export const CLAIM_SCRIPT = `${PRELUDE}
if not is_readable then
  return redis.error_reply('WRONGTYPE ' .. refused[1] .. ' is of another program')
end
if lease and lease ~= me and lease ~= ARGV[4] then
  return {'foreign', lease, call('PTTL', LEASE)}
end
call('SET', LEASE, me, 'PX', lease_ms)
if owner and owner ~= me then
  -- From here on nobody's: whoever dies on the way leaves no doubt about what is there.
  call('UNLINK', OWNER, COMPLETE)
  owner, complete = false, false
end
if not owner then
  local sensors = call('ZRANGE', INDEX, 0, ARGV[5] - 1)
  for _, sensor in ipairs(sensors) do
    if ask('GET', LAST .. sensor) then call('UNLINK', LAST .. sensor) end
  end
  if #sensors > 0 then call('ZREM', INDEX, unpack(sensors)) end
  if #sensors < indexed then return {'clearing', me, 0} end
end
call('SET', OWNER, me)
return {complete == me and 'complete' or 'incomplete', me, 0}
`;

/** Says that every last value of the data set has been written; answers 0 if it is not the owner. */
export const COMPLETE_SCRIPT = `${PRELUDE}
if not is_readable or owner ~= me then return 0 end
call('SET', COMPLETE, me)
return 1
`;

/**
 * Writes newer last values. Answers `{how, key, …}`: whether the data set's last values are `complete`,
 * `incomplete` or `not ours`, in which case none were written; and keys of another type, which were
 * left alone.
 *
 * From `ARGV[4]` on: sensor id, event time in microseconds, reading id, message, for each candidate. No
 * sensor is called `index`.
 *
 * What decides whether a last value is newer is the index, and the stored message only if the times
 * are equal or the index does not know the sensor: its key was evicted, or the message was written
 * by a program that keeps no index. Then the message's own timestamp is read.
 */
export const LAST_SCRIPT = `${PRELUDE}
local CANDIDATES = 4

-- Byte order. The operator < of Lua follows the server's locale.
local function precedes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- Microseconds since 1970 of an RFC 3339 text, or nil. Every step is exact in a double.
local function microseconds(text)
  local year, month, day, hour, minute, second, rest =
    string.match(text, '^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(.+)$')
  if not year then return nil end
  local fraction, zone = string.match(rest, '^%.?(%d*)(.+)$')
  local sign, zone_hour, zone_minute = string.match(zone or '', '^([+-])(%d%d):?(%d%d)$')
  local ahead = 0
  if sign then
    ahead = (tonumber(zone_hour) * 60 + tonumber(zone_minute)) * (sign == '-' and -60 or 60)
  elseif zone ~= 'Z' and zone ~= 'z' then
    return nil
  end
  -- Days of the proleptic Gregorian calendar, with years that begin in March.
  local y, m = tonumber(year), tonumber(month)
  if m <= 2 then y, m = y - 1, m + 12 end
  local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400)
    + math.floor((153 * (m - 3) + 2) / 5) + tonumber(day) - 719469
  local seconds = days * 86400 + hour * 3600 + minute * 60 + second - ahead
  return seconds * 1000000 + tonumber(string.sub(fraction .. '000000', 1, 6))
end

-- The event time and id of a stored message, or nil if it says neither.
local function read(message)
  -- cjson refuses half a surrogate pair, which JSON allows in fields that are not ours.
  local whole = string.gsub(message, '\\\\u[dD][89a-fA-F]%x%x', '\\\\u0020')
  local ok, fields = pcall(cjson.decode, whole)
  if not ok or type(fields) ~= 'table' or type(fields.timestamp) ~= 'string' then return nil end
  local id = fields.unique_reading_id
  return microseconds(fields.timestamp), type(id) == 'string' and string.lower(id) or ''
end

local function is_newer(sensor, time, id)
  local message = ask('GET', LAST .. sensor)
  if message == nil then return false end
  local known = tonumber(call('ZSCORE', INDEX, sensor) or nil)
  if known and known ~= time then return time > known end
  if not message then return true end
  local stored_time, stored_id = read(message)
  if not stored_time then return true end
  if not known then
    call('ZADD', INDEX, string.format('%.0f', stored_time), sensor)
    if stored_time ~= time then return time > stored_time end
  end
  return precedes(stored_id, id)
end

-- Where nothing is, nobody has to be asked.
if is_readable and ARGV[CANDIDATES] and not owner and not lease and indexed == 0 then
  call('SET', OWNER, me)
  call('SET', LEASE, me, 'PX', lease_ms)
  owner = me
end
local how = 'not ours'
if is_readable and owner == me then
  how = complete == me and 'complete' or 'incomplete'
  for i = CANDIDATES, #ARGV, 4 do
    local sensor, time = ARGV[i], ARGV[i + 1]
    if is_newer(sensor, tonumber(time), ARGV[i + 2]) then
      call('SET', LAST .. sensor, ARGV[i + 3])
      call('ZADD', INDEX, time, sensor)
    end
  end
end

local answer = {how, unpack(refused, 1, math.min(#refused, ${REFUSED_NAMED_MAX}))}
if #refused > 0 then call('SETEX', prefix .. '${REFUSED_KEY}', ${REFUSED_SECONDS}, refused[1]) end
return answer
`;

/** The name under which Redis keeps a script. */
export function scriptName(script: string): string {
  return createHash("sha1").update(script).digest("hex");
}
