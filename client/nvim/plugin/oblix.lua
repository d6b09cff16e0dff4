-- Commands of the Oblix plug-in. docs/how-to/neovim.md describes them.
if vim.g.loaded_oblix then
  return
end
vim.g.loaded_oblix = true

local function define(name, run, options)
  vim.api.nvim_create_user_command(name, run, options)
end

define("OblixAsk", function(given)
  local range = given.range > 0 and { given.line1, given.line2 } or nil
  require("oblix").ask(given.args, range)
end, { nargs = "+", range = true, desc = "Ask about the selected lines; goes on with the answer buffer's session" })

define("OblixStop", function()
  require("oblix").stop()
end, { desc = "End the running answer; the part that came is kept" })

define("OblixNew", function()
  require("oblix").new()
end, { desc = "Begin a new session with the next question" })

define("OblixFollow", function(given)
  require("oblix").follow(given.args ~= "" and given.args or nil)
end, { nargs = "?", desc = "Show a session live, whoever asks in it" })
