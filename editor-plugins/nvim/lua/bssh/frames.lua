--- Bytes to messages and back: Content-Length frames around JSON, and raw data frames.
---
--- Knows no process and no method; `link` does. Neovim 0.7 has no base64 and no string.pack, so
--- both are here.

local M = {}

--- A header longer than this is no header.
local LONGEST_HEADER = 4096
--- As `limits.maxFrame` of the core.
local LARGEST_BODY = 16 * 1024 * 1024
local DATA = 0xB1
local DATA_HEADER = 16

function M.json(text)
  return 'Content-Length: ' .. #text .. '\r\n\r\n' .. text
end

local function big_endian(number, bytes)
  local out = {}
  for at = bytes, 1, -1 do
    out[at] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(out)
end

local function read_number(text, from, bytes)
  local number = 0
  for at = from, from + bytes - 1 do
    number = number * 256 + text:byte(at)
  end
  return number
end

--- Bytes of a stream, at their offset.
function M.data(stream, offset, payload)
  local body = string.char(DATA, 0, 0, 0) .. big_endian(stream, 4) .. big_endian(offset, 8) .. payload
  return M.json(body)
end

--- A decoder: `feed(bytes, message, data)` calls `message(json_text)` and
--- `data(stream, offset, payload)` for every whole frame. Returns an error text once the bytes
--- make no sense; after that nothing can be read.
function M.decoder()
  local parts, size, need = {}, 0, nil
  local buffer = ''

  local function body(text, message, data)
    local first = text:byte(1)
    if first == DATA and #text >= DATA_HEADER then
      if text:byte(2) == 0 then
        data(read_number(text, 5, 4), read_number(text, 9, 8), text:sub(DATA_HEADER + 1))
      end
    elseif first == 0x7B then
      message(text)
    end
    -- What is neither is from a later level, and no reason to end the link.
  end

  local function step(message, data)
    if not need then
      local ends, after = buffer:find('\r\n\r\n', 1, true)
      if not ends then
        return #buffer > LONGEST_HEADER and 'a header without an end' or nil, false
      end
      local header = buffer:sub(1, ends - 1)
      local length = ('\r\n' .. header):lower():match('\r\ncontent%-length:%s*(%d+)')
      need = tonumber(length)
      if not need or need > LARGEST_BODY then
        return 'a frame of impossible size', false
      end
      buffer = buffer:sub(after + 1)
    end
    if #buffer < need then
      return nil, false
    end
    local text = buffer:sub(1, need)
    buffer, need = buffer:sub(need + 1), nil
    body(text, message, data)
    return nil, true
  end

  return function(bytes, message, data)
    parts[#parts + 1], size = bytes, size + #bytes
    if need and #buffer + size < need then
      return nil
    end
    buffer = buffer .. table.concat(parts)
    parts, size = {}, 0
    local failed, more
    repeat
      failed, more = step(message, data)
    until failed or not more
    return failed
  end
end

local ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
local VALUE = {}
for at = 1, 64 do
  VALUE[ALPHABET:byte(at)] = at - 1
end

local function letter(value)
  return ALPHABET:byte(value + 1)
end

--- Bytes to base64.
function M.to_base64(text)
  if vim.base64 then
    return vim.base64.encode(text)
  end
  local out, floor, char = {}, math.floor, string.char
  for at = 1, #text - 2, 3 do
    local a, b, c = text:byte(at, at + 2)
    local word = a * 65536 + b * 256 + c
    out[#out + 1] = char(letter(floor(word / 262144)), letter(floor(word / 4096) % 64),
      letter(floor(word / 64) % 64), letter(word % 64))
  end
  local rest = #text % 3
  if rest == 1 then
    local word = text:byte(#text) * 16
    out[#out + 1] = char(letter(floor(word / 64)), letter(word % 64)) .. '=='
  elseif rest == 2 then
    local a, b = text:byte(#text - 1, #text)
    local word = (a * 256 + b) * 4
    out[#out + 1] = char(letter(floor(word / 4096)), letter(floor(word / 64) % 64), letter(word % 64)) .. '='
  end
  return table.concat(out)
end

--- Base64 to bytes; nil if it is none.
function M.from_base64(text)
  if vim.base64 then
    local ok, bytes = pcall(vim.base64.decode, text)
    return ok and bytes or nil
  end
  local pad = text:match('=*$')
  local clean = text:sub(1, #text - #pad)
  if #pad > 2 or #text % 4 ~= 0 or clean:find('[^%w+/]') then
    return nil
  end
  local out, floor, char = {}, math.floor, string.char
  for at = 1, #clean - 3, 4 do
    local a, b, c, d = clean:byte(at, at + 3)
    local word = VALUE[a] * 262144 + VALUE[b] * 4096 + VALUE[c] * 64 + VALUE[d]
    out[#out + 1] = char(floor(word / 65536), floor(word / 256) % 256, word % 256)
  end
  local tail = clean:sub(#clean - #clean % 4 + 1)
  if #tail == 2 then
    out[#out + 1] = char(VALUE[tail:byte(1)] * 4 + floor(VALUE[tail:byte(2)] / 16))
  elseif #tail == 3 then
    local word = VALUE[tail:byte(1)] * 4096 + VALUE[tail:byte(2)] * 64 + VALUE[tail:byte(3)]
    out[#out + 1] = char(floor(word / 1024), floor(word / 4) % 256)
  end
  return table.concat(out)
end

return M
