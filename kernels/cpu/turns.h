// Turns of searches on the cores.
#pragma once

namespace weft::cpu {

// While it lives, its search runs; it is made when there is a core for it. More searches than cores
// at once would only push each other's tables out of the caches: they wait, and take their turns in
// the order in which they came, so that none starves. A search that may use several threads gets
// them where nobody waits; where somebody does, one core each serves more of them. A child of fork()
// begins with all its cores free. Not to be made within another: it might wait for that one's end.
class Turn {
 public:
  explicit Turn(int threads);
  ~Turn();
  int threads() const { return threads_; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  int cores_;
  int threads_;  // that the search may run on
};

}  // namespace weft::cpu
