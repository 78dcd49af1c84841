-- For wrk: harmless requests without end, and now and then an attack, each on a path of its own, at a place drawn at random.
-- Arguments: one attack in so many requests; how many attacks; the words of their paths, joined by commas; the seed; milliseconds of rest of each connection between two requests.
local every, most, words, n, sent, at, rest = 0, 0, {}, 0, 0, 0, 0
local threads = {}
local fields = {
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
  ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  ["Accept-Language"] = "en-GB,en;q=0.5",
  ["Cookie"] = "lang=en; theme=dark",
}
local harmless = { "/", "/catalogue/garden?page=3", "/item/4711", "/about.html", "/img/logo.png", "/search?q=red+bicycle", "/cart?item=17&amount=2", "/api/v1/prices?of=4711,4712" }

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  every, most = tonumber(args[1]), tonumber(args[2])
  for w in args[3]:gmatch("[^,]+") do table.insert(words, w) end
  math.randomseed(tonumber(args[4]))
  rest = tonumber(args[5])
  at = math.random(every)
  sent_attacks, sent_all = 0, 0
end

function delay()
  return rest
end

function request()
  n = n + 1
  sent_all = n
  if n == at and sent < most then
    sent = sent + 1
    sent_attacks = sent
    at = sent * every + math.random(every)
    return wrk.format("GET", "/find/" .. words[sent] .. "?q=1%20UNION%20SELECT%20password%20FROM%20users", fields)
  end
  return wrk.format("GET", harmless[n % #harmless + 1], fields)
end

function done(summary)
  for _, t in ipairs(threads) do
    print("RESULT " .. t:get("sent_attacks") .. " " .. t:get("sent_all") .. " " .. summary.requests .. " " .. summary.duration)
  end
end
