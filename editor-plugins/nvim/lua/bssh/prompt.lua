--- The core's questions, put to the person: host keys, passwords, confirmations.
---
--- Answers go to the core and nowhere else. A key that has changed is never asked about: the core
--- refuses it, with the file and the line.

local log = require('bssh.log')

local M = {}

--- Tests answer instead of a person.
M.always = false
M.ui = {
  choose = function(text, choices, default) return vim.fn.confirm(text, choices, default, 'Question') end,
  visible = function(label) return vim.fn.input(label) end,
  hidden = function(label) return vim.fn.inputsecret(label) end,
}

local function line(text)
  return log.printable(text or '')
end

local function place(params)
  local hop = params.hop
  return line(params.node) .. (hop and hop ~= vim.NIL and ' (at ' .. line(hop) .. ')' or '')
end

local function host_key(params)
  local key = params.key or {}
  local known = type(params.known) == 'table' and #params.known > 0
    and '\nThe same key is known by: ' .. line(table.concat(params.known, ', ')) or ''
  local text = string.format('%s: the host key of %s is not known.\n%s key, fingerprint %s%s',
    place(params), line(params.host), line(key.type), line(key.fingerprint), known)
  local choice = M.ui.choose(text, '&Connect once\n&Trust\nCa&ncel', 3)
  if choice == 1 or choice == 2 then
    return { outcome = 'accept', scope = choice == 1 and 'once' or 'file' }
  end
  return { outcome = 'reject' }
end

local function fields(params)
  local answers = vim.empty_dict()
  if params.instructions and params.instructions ~= vim.NIL and params.instructions ~= '' then
    vim.api.nvim_echo({ { line(params.instructions) } }, false, {})
  end
  for _, field in ipairs(params.fields or {}) do
    local label = line(params.title) .. ' - ' .. line(field.label)
    label = label:match('[:?]%s*$') and label .. ' ' or label .. ': '
    local ok, answer = pcall(field.echo and M.ui.visible or M.ui.hidden, label)
    if not ok or not answer or answer == '' then
      return { outcome = 'cancelled' }
    end
    answers[field.id] = answer
  end
  return { outcome = 'answered', answers = answers }
end

local function confirm(params)
  local choice = M.ui.choose(place(params) .. ': ' .. line(params.text), '&Yes\n&No', 2)
  return { outcome = choice == 1 and 'yes' or choice == 2 and 'no' or 'cancelled' }
end

local QUESTIONS = { ['auth/hostKey'] = host_key, ['auth/prompt'] = fields, ['auth/confirm'] = confirm }

--- Answers one question, soon.
function M.ask(method, params, answer)
  local question = QUESTIONS[method]
  if not question then
    return answer(nil, { code = -32601, message = 'no method ' .. tostring(method) })
  end
  vim.schedule(function()
    local ok, result = pcall(question, params)
    if ok then
      answer(result)
    else
      answer(nil, { code = -32800, message = 'the question was interrupted' })
    end
  end)
end

return M
