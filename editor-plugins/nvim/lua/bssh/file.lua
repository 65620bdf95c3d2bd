--- `bssh://node/path` buffers: read, write, list.
---
--- What was read has an etag; a write names it, so that nobody's change is overwritten unseen.
--- A write that fails leaves the buffer modified. Bytes are kept as they are: no conversion.

local core = require('bssh.core')
local frames = require('bssh.frames')
local log = require('bssh.log')

local M = {}

--- Files beyond this are for `bssh download`; the core's own limit for one answer.
local LARGEST = 8 * 1024 * 1024

--- Node and path of a name; nil if it is none.
function M.parse(name)
  local node, path = name:match('^bssh://([^/]+)(.*)$')
  if not node then
    return nil
  end
  path = path == '' and '.' or path
  -- `bssh://node/~/x` and `bssh://node/./x`: from the user's home.
  local home = path:match('^/(~.*)$') or path:match('^/%./(.*)$')
  return node, home or path
end

local function fail(name, text)
  vim.api.nvim_echo({ { 'bssh: ' .. log.printable(name) .. ': ' .. text, 'ErrorMsg' } }, true, {})
end

local function path_bytes(path)
  if pcall(vim.json.encode, path) and vim.fn.iconv(path, 'utf-8', 'utf-8') == path then
    return path
  end
  return { b64 = frames.to_base64(path) }
end

local function text_of(path)
  return type(path) == 'table' and frames.from_base64(path.b64) or path
end

--- Content to lines: `format` and whether the last line has an end.
function M.to_lines(content)
  if content == '' then
    return { '' }, 'unix', true
  end
  local ends = content:sub(-1) == '\n'
  local body = ends and content:sub(1, -2) or content
  local lines = vim.split(body, '\n', { plain = true })
  local format = 'dos'
  for at, line in ipairs(lines) do
    if line:sub(-1) ~= '\r' and (at < #lines or ends) then
      format = 'unix'
      break
    end
  end
  if format == 'dos' and (#lines > 1 or ends) then
    for at, line in ipairs(lines) do
      lines[at] = (at < #lines or ends) and line:sub(1, -2) or line
    end
  else
    format = 'unix'
  end
  return lines, format, ends
end

--- Lines to content.
function M.to_content(lines, format, ends)
  local eol = format == 'dos' and '\r\n' or format == 'mac' and '\r' or '\n'
  return table.concat(lines, eol) .. (ends and eol or '')
end

local function list(buffer, node, path)
  local entries, cursor = {}, nil
  repeat
    local page, failed = core.call('fs/list', { nodes = node, path = path_bytes(path), cursor = cursor, limit = 10000 })
    if not page then
      return fail(node .. ':' .. path, core.explain(failed))
    end
    vim.list_extend(entries, page.entries)
    cursor = page.cursor ~= vim.NIL and page.cursor or nil
  until not cursor
  local names = {}
  for _, entry in ipairs(entries) do
    local name = text_of(entry.name)
    if name ~= '.' and name ~= '..' then
      names[#names + 1] = name:gsub('\n', '\\n') .. (entry.attr.type == 'dir' and '/' or '')
    end
  end
  table.sort(names)
  table.insert(names, 1, '../')
  vim.bo[buffer].modifiable = true
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, names)
  vim.bo[buffer].modifiable, vim.bo[buffer].modified, vim.bo[buffer].buftype = false, false, 'nofile'
  vim.bo[buffer].filetype = 'bsshdir'
  vim.keymap.set('n', '<cr>', function()
    local name = vim.api.nvim_get_current_line()
    local base = path:gsub('/+$', '')
    local target = name == '../' and (base:match('^(.*)/[^/]*$') or '') .. '/' or base .. '/' .. name
    if path == '.' or path:sub(1, 1) == '~' then
      target = name == '../' and target or '/./' .. target
    end
    vim.cmd('edit ' .. vim.fn.fnameescape('bssh://' .. node .. (target:sub(1, 1) == '/' and target or '/' .. target)))
  end, { buffer = buffer, desc = 'open what is under the cursor' })
end

local function read(node, path)
  return core.call('fs/readSmall', { nodes = node, path = path_bytes(path), maxBytes = LARGEST })
end

local function kind(failed)
  return type(failed.data) == 'table' and failed.data.kind or ''
end

--- BufReadCmd.
function M.open(name, buffer)
  local node, path = M.parse(name)
  if not node then
    return fail(name, 'expected bssh://node/path')
  end
  vim.bo[buffer].swapfile = false
  local content, failed = read(node, path)
  if not content and kind(failed) == 'fs.io' then
    local attr = core.call('fs/stat', { nodes = node, path = path_bytes(path) })
    if attr and attr.type == 'dir' then
      return list(buffer, node, path)
    end
  end
  if not content and kind(failed) == 'fs.notFound' then
    vim.b[buffer].bssh_etag, vim.b[buffer].bssh_was_empty = '', true
    vim.bo[buffer].buftype = 'acwrite'
    vim.api.nvim_echo({ { '"' .. log.printable(name) .. '" [New]' } }, false, {})
    return vim.api.nvim_exec_autocmds('BufNewFile', { buffer = buffer, modeline = false })
  end
  if not content then
    -- Writing what was never read must not replace it.
    vim.bo[buffer].buftype, vim.bo[buffer].modifiable = 'nofile', false
    return fail(name, core.explain(failed))
  end
  vim.api.nvim_exec_autocmds('BufReadPre', { buffer = buffer, modeline = false })
  local lines, format, ends = M.to_lines(frames.from_base64(content.data) or '')
  local levels = vim.bo[buffer].undolevels
  vim.bo[buffer].modifiable, vim.bo[buffer].undolevels = true, -1
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].undolevels = levels
  vim.bo[buffer].buftype, vim.bo[buffer].fileformat = 'acwrite', format
  vim.bo[buffer].endofline, vim.bo[buffer].fixendofline = ends, false
  vim.b[buffer].bssh_etag, vim.b[buffer].bssh_was_empty = content.etag, content.data == ''
  vim.bo[buffer].modified = false
  vim.api.nvim_exec_autocmds('BufReadPost', { buffer = buffer, modeline = false })
  vim.bo[buffer].modified = false
end

local CONFLICT = 'changed on the node since it was read: :w! writes anyway, :e! reads it again, :BsshDiff compares'

--- BufWriteCmd and FileWriteCmd: lines `first` to `last` of the buffer.
function M.write(name, buffer, range, bang)
  local node, path = M.parse(name)
  if not node then
    return fail(name, 'expected bssh://node/path')
  end
  local own = vim.api.nvim_buf_get_name(buffer) == name
  local whole = range[1] == 1 and range[2] == vim.api.nvim_buf_line_count(buffer)
  if own and whole then
    vim.api.nvim_exec_autocmds('BufWritePre', { buffer = buffer, modeline = false })
    range[2] = vim.api.nvim_buf_line_count(buffer)
  end
  local lines = vim.api.nvim_buf_get_lines(buffer, range[1] - 1, range[2], false)
  local ends = vim.bo[buffer].endofline or vim.bo[buffer].fixendofline or not whole
  local content = M.to_content(lines, vim.bo[buffer].fileformat, ends)
  -- A buffer cannot tell an empty file from one empty line.
  if own and content == '\n' and vim.b[buffer].bssh_was_empty then
    content = ''
  end
  local etag = own and vim.b[buffer].bssh_etag or ''
  if #content > LARGEST then
    return fail(name, 'larger than ' .. LARGEST .. ' bytes; use bssh upload')
  end
  local written, failed = core.call('fs/writeSmall', {
    nodes = node, path = path_bytes(path), data = frames.to_base64(content),
    ifEtag = not bang and etag or nil,
  })
  if not written then
    local conflict = kind(failed) == 'fs.conflict'
    return fail(name, conflict and (own and CONFLICT or 'is there already: :w! replaces it') or core.explain(failed))
  end
  if own and whole then
    vim.b[buffer].bssh_etag = written.etag
    vim.bo[buffer].modified = false
    vim.api.nvim_exec_autocmds('BufWritePost', { buffer = buffer, modeline = false })
  end
  vim.api.nvim_echo({ { ('"%s" %dL, %dB written'):format(log.printable(name), #lines, #content) } }, false, {})
end

--- FileReadCmd: `:read bssh://…`, below a line.
function M.insert(name, buffer, line)
  local node, path = M.parse(name)
  if not node then
    return fail(name, 'expected bssh://node/path')
  end
  local content, failed = read(node, path)
  if not content then
    return fail(name, core.explain(failed))
  end
  local lines = M.to_lines(frames.from_base64(content.data) or '')
  vim.api.nvim_buf_set_lines(buffer, line, line, false, lines)
end

--- The node's version beside the buffer's, in diff mode.
function M.compare(buffer)
  local name = vim.api.nvim_buf_get_name(buffer)
  local node, path = M.parse(name)
  if not node then
    return fail(name, 'this buffer is not on a node')
  end
  local content, failed = read(node, path)
  if not content then
    return fail(name, core.explain(failed))
  end
  local filetype = vim.bo[buffer].filetype
  vim.cmd('diffthis | vertical new')
  vim.bo.buftype, vim.bo.bufhidden, vim.bo.swapfile = 'nofile', 'wipe', false
  local lines = M.to_lines(frames.from_base64(content.data) or '')
  vim.api.nvim_buf_set_lines(0, 0, -1, false, lines)
  vim.bo.modifiable, vim.bo.filetype = false, filetype
  vim.cmd('diffthis')
end

return M
