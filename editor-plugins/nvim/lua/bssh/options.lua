--- What can be set, and what is meant by it. Defaults need no `setup()`.

local M = {}

M.VERSION = '0.1.0'

local DEFAULTS = {
  core = nil, -- path of bssh; nil: the one in PATH
  config = nil, -- path of config.yaml; nil: the usual ones
  ssh_config = nil, -- path of ssh_config; nil: the usual ones
  timeout = 30000, -- how long a file operation may take, in milliseconds
  max_output = 4 * 1024 * 1024, -- bytes of output kept per node of a run
  fanout = nil, -- nodes at once; nil: the configuration's
  strict = false, -- the core refuses parameters it does not know (for tests)
}
local KNOWN = {
  core = 'string', config = 'string', ssh_config = 'string', timeout = 'number',
  max_output = 'number', fanout = 'number', strict = 'boolean',
}

local options = vim.deepcopy(DEFAULTS)

--- Takes options over. An unknown one, or one of the wrong type, is an error.
function M.set(given)
  for name, value in pairs(given or {}) do
    if not KNOWN[name] then
      error('bssh: no option "' .. tostring(name) .. '"; see :help bssh-options', 0)
    end
    if type(value) ~= KNOWN[name] then
      error('bssh: option ' .. name .. ': expected a ' .. KNOWN[name], 0)
    end
  end
  options = vim.tbl_extend('force', vim.deepcopy(DEFAULTS), given or {})
end

function M.get()
  return options
end

--- The protocol's `settings`; nil: nothing is set.
function M.settings()
  if not options.config and not options.ssh_config then
    return nil
  end
  local function path(name) return name and vim.fn.expand(name) or nil end
  return { config = path(options.config), sshConfig = path(options.ssh_config) }
end

return M
