--- `:BsshTerm`: a terminal on a node, in a buffer of Neovim's own terminal emulator.
---
--- Bytes go both ways untouched. A lost link leaves what was on the screen, and `:BsshTerm!` in
--- that buffer opens a new shell in its place.

local core = require('bssh.core')
local log = require('bssh.log')

local M = {}

--- Terminals by buffer.
local by_buffer = {}

local function size(term)
  local window = vim.fn.bufwinid(term.buffer)
  if window == -1 then
    return term.cols or 80, term.rows or 24
  end
  return vim.api.nvim_win_get_width(window), vim.api.nvim_win_get_height(window)
end

local function say(term, text)
  if term.screen then
    pcall(vim.api.nvim_chan_send, term.screen, '\r\n\27[0;2m[' .. log.printable(text) .. ']\27[0m\r\n')
  end
end

local function ended(term, text)
  if term.over then
    return
  end
  term.over, term.pty, term.input, term.said = true, nil, nil, text
  say(term, text)
  vim.api.nvim_exec_autocmds('User', { pattern = 'BsshTermClosed', modeline = false })
end

--- How a pty ended, in words.
local function verdict(event)
  local exit = event.exit ~= vim.NIL and event.exit or nil
  local failure = event.failure ~= vim.NIL and event.failure or nil
  if exit and exit.signal then
    return 'killed by signal ' .. exit.signal
  elseif exit and exit.status then
    return 'exited with ' .. exit.status
  elseif failure then
    return 'connection lost: ' .. failure.message .. '; :BsshTerm! opens a new shell here'
  end
  return 'closed'
end

core.listen(function(method, params)
  for _, term in pairs(by_buffer) do
    if method == 'lost' then
      ended(term, params.text .. '; :BsshTerm! opens a new shell here')
    elseif method == 'pty/exited' and term.pty == params.pty then
      ended(term, verdict(params))
    end
  end
end)

local function connect(term)
  term.cols, term.rows = size(term)
  term.over = false
  core.request('pty/open', {
    nodes = term.node, command = term.command, term = 'xterm-256color', cols = term.cols, rows = term.rows,
  }, function(failed, opened)
    if failed then
      return ended(term, core.explain(failed))
    end
    term.pty, term.input = opened.pty, opened.input
    core.current():receive(opened.output, {
      window = 256 * 1024,
      data = function(bytes) pcall(vim.api.nvim_chan_send, term.screen, bytes) end,
    })
    M.fit()
  end)
end

--- Opens a terminal on a node: its login shell, or a command.
function M.open(node, command)
  vim.cmd('botright new')
  local term = { node = node, command = command, buffer = vim.api.nvim_get_current_buf() }
  by_buffer[term.buffer] = term
  term.screen = vim.api.nvim_open_term(term.buffer, {
    on_input = function(_, _, _, bytes)
      local open = core.current()
      if term.input and open then
        open:write(term.input, bytes)
      end
    end,
  })
  pcall(vim.api.nvim_buf_set_name, term.buffer, ('[bssh %d] %s'):format(term.buffer, node))
  vim.bo[term.buffer].bufhidden = 'hide'
  connect(term)
  if #vim.api.nvim_list_uis() > 0 then
    vim.cmd('startinsert')
  end
  return term
end

--- A new shell in a terminal whose shell has ended.
function M.reopen(buffer)
  local term = by_buffer[buffer]
  if not term then
    return nil, 'this is no terminal of bssh'
  elseif not term.over then
    return nil, 'the terminal is open'
  end
  connect(term)
  return term
end

--- Tells nodes about terminals whose window has another size now.
function M.fit()
  for _, term in pairs(by_buffer) do
    local cols, rows = size(term)
    if term.pty and (cols ~= term.cols or rows ~= term.rows) then
      term.cols, term.rows = cols, rows
      core.tell('pty/resize', { pty = term.pty, cols = cols, rows = rows })
    end
  end
end

--- Open terminals.
function M.count()
  local open = 0
  for _, term in pairs(by_buffer) do
    open = open + (term.pty and 1 or 0)
  end
  return open
end

local group = vim.api.nvim_create_augroup('bssh_term', {})
local sized = { 'VimResized', 'WinEnter', 'WinNew', 'BufWinEnter', 'CursorHold' }
if vim.fn.exists('##WinResized') == 1 then
  sized = { 'VimResized', 'WinResized', 'BufWinEnter' }
end
vim.api.nvim_create_autocmd(sized, { group = group, callback = function() vim.schedule(M.fit) end })
vim.api.nvim_create_autocmd('WinClosed', { group = group, callback = function() vim.schedule(M.fit) end })
vim.api.nvim_create_autocmd('BufWipeout', {
  group = group,
  callback = function(event)
    local term = by_buffer[event.buf]
    by_buffer[event.buf] = nil
    if term and term.pty then
      core.tell('pty/close', { pty = term.pty })
    end
  end,
})

return M
