-- Talks to language models through `oblix` as a child process. The conversations are the daemon's:
-- any other program sees them, and they go on after Neovim has ended.
local M = {}

local api, fn = vim.api, vim.fn

-- `command`: how oblix is run. `options`: further options of `oblix ask`, for example { "--local-only" }.
M.config = { command = { "oblix" }, options = {} }

-- What is shown, and which session it belongs to. One answer runs at a time.
local state = { buffer = nil, session = nil, job = nil, follower = nil }

function M.setup(config)
  M.config = vim.tbl_extend("force", M.config, config or {})
end

-- The session of the answer buffer, or nil.
function M.session()
  return state.session
end

-- Whether an answer is being written.
function M.is_running()
  return state.job ~= nil
end

local function command(...)
  return vim.list_extend(vim.list_extend({}, M.config.command), { ... })
end

-- Makes a scratch buffer that is shown in a split, unless it is shown already.
local function show(buffer, name)
  if not (buffer and api.nvim_buf_is_valid(buffer)) then
    buffer = api.nvim_create_buf(false, true)
    api.nvim_buf_set_name(buffer, name .. "/" .. buffer)
    api.nvim_buf_set_option(buffer, "filetype", "markdown")
  end
  if fn.bufwinid(buffer) == -1 then
    vim.cmd("botright split")
    api.nvim_win_set_buf(0, buffer)
    vim.cmd("wincmd p")
  end
  return buffer
end

-- Appends what a job wrote. The first piece goes on with the last line, as channels give it.
local function append(buffer, pieces)
  if not api.nvim_buf_is_valid(buffer) then
    return
  end
  local last = api.nvim_buf_line_count(buffer)
  local lines = vim.deepcopy(pieces)
  lines[1] = api.nvim_buf_get_lines(buffer, last - 1, last, false)[1] .. lines[1]
  for index, line in ipairs(lines) do
    lines[index] = line:gsub("\n", "\0") -- a channel gives NUL as a line break
  end
  api.nvim_buf_set_lines(buffer, last - 1, last, false, lines)
  local window = fn.bufwinid(buffer)
  if window ~= -1 then
    api.nvim_win_set_cursor(window, { api.nvim_buf_line_count(buffer), 0 })
  end
end

local function selection(range)
  if not range then
    return ""
  end
  local lines = api.nvim_buf_get_lines(0, range[1] - 1, range[2], false)
  local fence = string.rep("`", 3)
  for _, line in ipairs(lines) do
    local ticks = line:match("^%s*(```+)")
    if ticks and #ticks >= #fence then
      fence = ticks .. "`"
    end
  end
  return string.format("\n\n%s%s\n%s\n%s", fence, vim.bo.filetype, table.concat(lines, "\n"), fence)
end

-- Asks about lines of the current buffer: `range` is { first, last }, or nil for a question alone.
function M.ask(words, range)
  if state.job then
    return vim.notify("oblix: an answer is being written; :OblixStop ends it", vim.log.levels.WARN)
  end
  local prompt = words .. selection(range)
  local buffer = show(state.buffer, "oblix://answer")
  state.buffer = buffer
  append(buffer, vim.split("## You\n\n" .. prompt .. "\n\n## Oblix\n\n", "\n"))
  local asking = command("ask", "-v") -- tells the id of the session
  vim.list_extend(asking, M.config.options)
  vim.list_extend(asking, state.session and { "--session", state.session, "-" } or { "-" })
  local notes = { "" }
  state.job = fn.jobstart(asking, {
    on_stdout = function(_, pieces)
      append(buffer, pieces)
    end,
    on_stderr = function(_, pieces)
      notes[#notes] = notes[#notes] .. pieces[1]
      vim.list_extend(notes, pieces, 2)
    end,
    on_exit = function(_, code)
      M._ended(buffer, notes, code)
    end,
  })
  if state.job <= 0 then
    state.job = nil
    return vim.notify("oblix: " .. asking[1] .. " can't be run", vim.log.levels.ERROR)
  end
  fn.chansend(state.job, prompt)
  fn.chanclose(state.job, "stdin")
end

-- Takes the session's id out of what oblix noted, and tells why an answer failed.
function M._ended(buffer, notes, code)
  state.job = nil
  for _, line in ipairs(notes) do
    state.session = line:match("session%s+([%w._-]+)") or state.session
  end
  append(buffer, { "", "", "" })
  if code ~= 0 and code ~= 130 then
    append(buffer, { "> " .. vim.trim(table.concat(notes, " ")), "", "" })
  end
  api.nvim_exec_autocmds("User", { pattern = "OblixAnswered", modeline = false })
end

-- Ends the running answer as Ctrl-C does: what had come is kept, and the model is freed.
function M.stop()
  if state.job then
    vim.loop.kill(fn.jobpid(state.job), "sigint")
  end
end

-- Forgets the session: the next question begins a new one.
function M.new()
  state.session = nil
  state.buffer = nil
end

-- Shows a session live, by default that of the answer buffer: also what other editors ask in it.
function M.follow(session)
  session = session or state.session
  if not session then
    return vim.notify("oblix: which session? :OblixFollow ID", vim.log.levels.WARN)
  end
  if state.follower then
    fn.jobstop(state.follower)
  end
  local buffer = show(nil, "oblix://session/" .. session)
  state.follower = fn.jobstart(command("follow", session), {
    on_stdout = function(_, pieces)
      append(buffer, pieces)
    end,
  })
  return buffer
end

return M
