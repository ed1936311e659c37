#include "trainer/comm/rank_watch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/host_name.h"
#include "core/json.h"
#include "core/random_id.h"
#include "core/text.h"

namespace muster {
namespace {

constexpr auto kConnectPatience = std::chrono::milliseconds(2000);
constexpr auto kSuspended = std::chrono::seconds(5);
constexpr auto kWelcomePatience = std::chrono::seconds(10);
/// How long rank 0 has to say what is wrong before a rank that waits too long says it alone.
constexpr double kAnswerSeconds = 3;
/// How long the others have to record what they know before the job ends.
constexpr auto kRecordPatience = std::chrono::milliseconds(1500);

constexpr const char* kGoodBye = "good-bye";
constexpr std::string_view kHello = "hello ";
constexpr std::string_view kWelcome = "welcome ";
constexpr std::string_view kFailed = "failed ";

double seconds_between(std::chrono::steady_clock::time_point from, std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

RankWatch::RankWatch(RankWatchOptions options) : options_(std::move(options)) {
  if (options_.rank != 0) return;
  listener_ = std::make_unique<TcpListener>();
  token_ = random_id();  // so that nobody else's connection is taken for a rank's
  peers_.resize(static_cast<std::size_t>(options_.size));
}

std::string RankWatch::contact() const {
  return Json{{"token", token_}, {"addresses", listener_->addresses()}, {"host", host_name()}}.dump();
}

bool RankWatch::start(const std::string& contact) {
  if (options_.rank != 0) {
    const Json json = parse_json(contact, "rank 0's contact", ErrorCode::kBug);
    token_ = json.at("token").get<std::string>();
    for (const auto& address : json.at("addresses").get<std::vector<std::string>>()) {
      const bool inward = address.starts_with("127.") || address.starts_with("[::1]");
      if (!inward || json.at("host") == host_name())
        untried_.push_back(address);  // else that would be ourselves
    }
    try_next_address();
  }
  const bool reached = options_.rank == 0 || rank_zero_ != nullptr;
  thread_ = std::thread([this] { run(); });
  return reached;
}

/// Hosts can have an address in common (of a bridge for containers, say), and somebody else can listen there:
/// rank 0 is who answers with the token.
void RankWatch::try_next_address() {
  rank_zero_.reset();
  welcomed_ = false;
  while (!rank_zero_ && !untried_.empty()) {
    rank_zero_ = TcpConnection::connect(untried_.front(), kConnectPatience);
    untried_.pop_front();
  }
  if (!rank_zero_) return;
  tried_at_ = Clock::now();
  rank_zero_->send_line(fmt::format("{}{} {}", kHello, token_, options_.rank));
  rank_zero_->send_line(own_sign().to_line());
}

RankWatch::~RankWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (rank_zero_) rank_zero_->send_line(kGoodBye);
  for (Peer& peer : peers_) {
    if (peer.connection) peer.connection->send_line(kGoodBye);
  }
}

void RankWatch::begin(std::uint64_t sequence, std::string name) {
  const std::lock_guard lock(mutex_);
  next_sequence_ = sequence + 1;
  watched_.emplace(sequence, Watched{std::move(name), Clock::now()});
}

void RankWatch::end(std::uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  watched_.erase(sequence);
}

/// Looks a few times per deadline instead of being woken by every collective.
void RankWatch::run() {
  const auto longest = std::chrono::milliseconds(1000);
  const auto interval = options_.deadline.count() > 0
                            ? std::clamp(options_.deadline / 8, std::chrono::milliseconds(1), longest)
                            : longest;
  std::unique_lock lock(mutex_);
  auto last = Clock::now();
  while (!stop_.wait_for(lock, interval, [this] { return stopping_; }) && !failed_) {
    const auto gap = Clock::now() - last - interval;
    if (gap > kSuspended) forgive(gap);
    lock.unlock();
    tick();
    lock.lock();
    last = Clock::now();
  }
}

/// This process stood still (a job that was suspended): nobody waited meanwhile. Under the mutex.
void RankWatch::forgive(Clock::duration gap) {
  for (auto& [sequence, watched] : watched_) watched.start += gap;
  for (Peer& peer : peers_) {
    peer.heard += gap;
    if (peer.gone) *peer.gone += gap;
  }
  if (rank_zero_gone_) *rank_zero_gone_ += gap;
}

void RankWatch::tick() {
  if (options_.rank == 0) {
    serve();
  } else {
    ask_rank_zero();
  }
}

RankSign RankWatch::own_sign() {
  RankSign sign;
  sign.rank = options_.rank;
  sign.host = host_name();
  sign.pid = ::getpid();
  if (options_.status != nullptr) {
    sign.step = options_.status->steps_done.load();
    sign.phase = to_text(options_.status->phase.load());
  }
  const std::lock_guard lock(mutex_);
  sign.next_sequence = next_sequence_;
  if (watched_.empty()) return sign;
  const auto& [sequence, watched] = *watched_.begin();
  sign.sequence = sequence;
  sign.collective = watched.name;
  sign.waited_seconds = seconds_between(watched.start, Clock::now());
  return sign;
}

/// Connections that have not yet said whose they are.
void RankWatch::take_fresh() {
  for (auto& connection : listener_->accept()) fresh_.push_back(std::move(connection));
  for (auto& connection : fresh_) {
    const std::vector<std::string> lines = connection->receive_lines();
    const std::string hello = fmt::format("{}{} ", kHello, token_);
    if (!lines.empty() && lines.front().starts_with(hello)) {
      const auto rank = leading_integer(lines.front().substr(hello.size()));
      if (rank && *rank > 0 && *rank < options_.size) {
        Peer& peer = peers_[static_cast<std::size_t>(*rank)];
        peer.connection = std::exchange(connection, nullptr);
        peer.connection->send_line(std::string(kWelcome) + token_);
        peer.gone.reset();
        peer.left = false;
        peer.heard = Clock::now();
        if (lines.size() > 1) peer.sign = RankSign::parse(lines.back());
      }
    }
    const bool stranger = connection && (!lines.empty() || connection->closed());
    if (stranger) connection.reset();
  }
  std::erase_if(fresh_, [](const auto& connection) { return connection == nullptr; });
}

void RankWatch::hear(Peer& peer) {
  if (!peer.connection) return;
  for (const std::string& line : peer.connection->receive_lines()) {
    if (line == kGoodBye) peer.left = true;
    if (auto sign = RankSign::parse(line)) {
      peer.sign = std::move(sign);
      peer.heard = Clock::now();
    }
  }
  if (peer.connection->closed() && !peer.left && !peer.gone) peer.gone = Clock::now();
}

std::vector<SeenRank> RankWatch::seen() const {
  std::vector<SeenRank> all;
  for (const Peer& peer : peers_)
    all.push_back(
        {peer.sign, peer.sign ? seconds_between(peer.heard, Clock::now()) : 0, peer.gone.has_value()});
  return all;
}

/// Rank 0: hears all, and judges.
void RankWatch::serve() {
  take_fresh();
  for (Peer& peer : peers_) hear(peer);
  peers_[0].sign = own_sign();
  peers_[0].heard = Clock::now();
  const std::vector<SeenRank> ranks = seen();
  if (longest_wait(ranks) >= deadline_seconds()) {
    fail(describe_stall(ranks) + limit(), true);
    return;
  }
  const auto lost = std::ranges::any_of(peers_, [&](const Peer& peer) {
    return peer.gone && Clock::now() - *peer.gone >= options_.loss_grace;
  });
  if (lost) fail(describe_loss(ranks), true);
}

/// What rank 0 says. True: the run is over, or will be in a moment.
bool RankWatch::obey() {
  for (const std::string& line : rank_zero_->receive_lines()) {
    if (line == std::string(kWelcome) + token_) welcomed_ = true;
    if (!welcomed_) continue;
    if (line == kGoodBye) return rank_zero_.reset(), true;
    if (line.starts_with(kFailed)) return fail(line.substr(kFailed.size()), false), true;
  }
  return false;
}

/// Another rank: tells what it does, and obeys.
void RankWatch::ask_rank_zero() {
  const RankSign sign = own_sign();
  if (rank_zero_) {
    rank_zero_->send_line(sign.to_line());
    if (obey()) return;
    const bool late = Clock::now() - tried_at_ > kWelcomePatience && !untried_.empty();
    if (!welcomed_ && (late || rank_zero_->closed())) {
      try_next_address();
    } else if (rank_zero_->closed() && !rank_zero_gone_) {
      rank_zero_gone_ = Clock::now();
    }
  }
  const auto now = Clock::now();
  const auto alone = [&](const std::string& what) {
    fail(fmt::format("rank {} on {} (pid {}): {}", options_.rank, sign.host, sign.pid, what), true);
  };
  if (rank_zero_gone_ && now - *rank_zero_gone_ >= options_.loss_grace)
    return alone(fmt::format("rank 0 is lost: its connection closed, at step {} here", sign.step));
  if (sign.waited_seconds < deadline_seconds()) return overdue_since_.reset();
  if (!overdue_since_) overdue_since_ = now;
  if (rank_zero_ && seconds_between(*overdue_since_, now) < kAnswerSeconds) return;
  alone(fmt::format("collective '{}' (#{}, step {}) has waited {}{}, and rank 0 does not answer",
                    sign.collective, sign.sequence, sign.step, human_seconds(sign.waited_seconds), limit()));
}

double RankWatch::deadline_seconds() const {
  if (options_.deadline.count() > 0) return std::chrono::duration<double>(options_.deadline).count();
  if (options_.status == nullptr) return default_deadline(RankPhase::kStart, 0);
  return default_deadline(options_.status->phase.load(), options_.status->slowest_step_seconds.load());
}

std::string RankWatch::limit() const {
  if (options_.deadline_key.empty()) return "";
  return fmt::format(" (the limit is {}: {})", human_seconds(deadline_seconds()), options_.deadline_key);
}

void RankWatch::fail(const std::string& line, bool mine) {
  {
    const std::lock_guard lock(mutex_);
    failed_ = true;
  }
  for (Peer& peer : peers_) {
    if (peer.connection) peer.connection->send_line(std::string(kFailed) + line);
  }
  if (options_.on_failure) options_.on_failure(line, mine);
  std::this_thread::sleep_for(kRecordPatience);
  if (options_.end) options_.end();
}

}  // namespace muster
