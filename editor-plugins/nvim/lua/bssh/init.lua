--- bssh for Neovim: commands on many nodes, terminals, files and forwards.
---
--- `setup()` is only needed to change options. See `:help bssh`.

local M = {}

--- Options: see `:help bssh-options`.
function M.setup(given)
  require('bssh.options').set(given)
end

--- Runs a command on the nodes of an expression; its output is gathered in a buffer.
function M.run(targets, command)
  return require('bssh.run').start(targets, command)
end

--- Opens a terminal on a node.
function M.term(node, command)
  return require('bssh.term').open(node, command)
end

--- For 'statusline': empty without a core, else what it does, e.g. `bssh 3/12 ⌨1 ⇄2`.
function M.statusline()
  local loaded = package.loaded
  local core = loaded['bssh.core']
  if not core or not core.current() then
    return ''
  end
  local words = { 'bssh' }
  if loaded['bssh.run'] then
    local runs, ended, all = loaded['bssh.run'].progress()
    words[#words + 1] = runs > 0 and ('%d/%d'):format(ended, all) or nil
  end
  for name, mark in pairs({ ['bssh.term'] = '⌨', ['bssh.forward'] = '⇄' }) do
    local count = loaded[name] and loaded[name].count() or 0
    words[#words + 1] = count > 0 and mark .. count or nil
  end
  return table.concat(words, ' ')
end

return M
