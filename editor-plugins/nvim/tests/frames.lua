--- Bytes to messages: the decoder and base64, without a core.

return function(T)
  local frames = require('bssh.frames')

  local function decode(pieces)
    local seen, decoder, failed = {}, frames.decoder(), nil
    for _, piece in ipairs(pieces) do
      failed = failed or decoder(piece, function(text) seen[#seen + 1] = text end,
        function(stream, offset, payload) seen[#seen + 1] = { stream, offset, payload } end)
    end
    return seen, failed
  end

  return {
    { 'frames are found wherever the pieces end', function()
      local whole = frames.json('{"a":1}') .. frames.data(7, 5000000000, 'a\0b\r\n\r\nc') .. frames.json('{"b":2}')
      local wanted = { '{"a":1}', { 7, 5000000000, 'a\0b\r\n\r\nc' }, '{"b":2}' }
      T.equal(decode({ whole }), wanted)
      local single = {}
      for at = 1, #whole do single[at] = whole:sub(at, at) end
      T.equal(decode(single), wanted)
      for cut = 1, #whole do
        T.equal(decode({ whole:sub(1, cut), whole:sub(cut + 1) }), wanted, 'cut at ' .. cut)
      end
    end },
    { 'other headers are ignored, and what is no frame is an error', function()
      T.equal(decode({ 'content-type: x\r\ncontent-length: 2\r\n\r\n{}' }), { '{}' })
      for _, bytes in ipairs({ 'Content-Length: x\r\n\r\n', 'Content-Length: 99999999999\r\n\r\n', ('x'):rep(5000), 'X: 1\r\n\r\n' }) do
        local seen, failed = decode({ bytes })
        T.equal({ #seen, failed ~= nil }, { 0, true }, bytes:sub(1, 30))
      end
    end },
    { 'base64 there and back, and what is none', function()
      local all = ''
      for byte = 0, 255 do all = all .. string.char(byte) end
      for size = 0, 256 do
        local bytes = all:sub(1, size)
        T.equal(frames.from_base64(frames.to_base64(bytes)), bytes, size)
      end
      T.equal(frames.to_base64('Hello'), 'SGVsbG8=')
      for _, text in ipairs({ 'a', 'ab!=', 'SGVsbG8' }) do
        T.equal(frames.from_base64(text), nil, text)
      end
    end },
    { 'the log hides answers, passwords and contents', function()
      local text = require('bssh.log').redact({
        answers = { password = 'canary' }, login = { user = 'u', password = 'canary' }, data = 'canary', path = '/etc/x',
      })
      T.equal(text:find('canary'), nil, text)
      T.matches(text, '/etc/x')
    end },
    { 'names and contents of files', function()
      local file = require('bssh.file')
      for name, wanted in pairs({
        ['bssh://alpha/etc/hosts'] = { 'alpha', '/etc/hosts' }, ['bssh://u@alpha:22/~/x'] = { 'u@alpha:22', '~/x' },
        ['bssh://alpha/./x'] = { 'alpha', 'x' }, ['bssh://alpha'] = { 'alpha', '.' }, ['bssh://alpha/'] = { 'alpha', '/' },
      }) do
        T.equal({ file.parse(name) }, wanted, name)
      end
      for _, content in ipairs({ 'a', 'a\n', '\n', 'a\r\nb\r\n', 'a\r\nb', 'a\nb\r\n', 'a\0b\n\n\n', '\r\n', 'a\r' }) do
        local lines, format, ends = file.to_lines(content)
        T.equal(file.to_content(lines, format, ends), content, vim.inspect(content))
      end
    end },
  }
end
